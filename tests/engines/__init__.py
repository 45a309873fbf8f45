"""Engines that only tests start."""
