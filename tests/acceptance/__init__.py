"""Acceptance tests: the checks are written from the contract alone and share no code with the pipeline."""
