"""Push batches: their parts, and what each line does to its list."""
