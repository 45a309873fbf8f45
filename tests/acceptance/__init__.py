"""Independent acceptance checks: written from the contract alone, sharing no code with the pipeline."""
