"""Temperature thresholds of the policy, in °C. Every rule and every count reads them here."""

FEVER_C = 37.3
"""Lowest temperature that counts as fever. Source: China's COVID-19 control guidance of 2020."""

PLAUSIBLE_MIN_C, PLAUSIBLE_MAX_C = 30.0, 45.0
"""Range of readings that a living person can have, both ends included. Anything else is a fault of the measurement."""
