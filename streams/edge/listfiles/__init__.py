"""Files of health authorities: reading tables, and pushing their lines."""
