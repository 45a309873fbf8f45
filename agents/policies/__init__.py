"""The policies as a worker knows them: which one holds at each time."""
