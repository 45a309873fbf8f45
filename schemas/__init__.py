"""The contract in code: wire types, rows, SQL. Imports nothing else of ours."""
