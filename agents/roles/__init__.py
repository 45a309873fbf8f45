"""The roles, one file each: a worker process runs one of them."""
