"""What each worker process runs: one file a role."""
