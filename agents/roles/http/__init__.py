"""The HTTP port of a role."""
