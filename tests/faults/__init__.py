"""Faults on real engines: what breaks, and what must hold all the same."""
