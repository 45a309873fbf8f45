"""The screen of a device for a guard with a keyboard and a scanner: what is typed is understood or asked about."""
