"""Scans and arrivals to outcomes, alerts and decisions."""
