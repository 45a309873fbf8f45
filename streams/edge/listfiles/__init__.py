"""List files of health authorities: reading their tables, turning rows into lines, and pushing a batch."""
