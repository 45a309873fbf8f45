"""The contract in code: wire types, rows and SQL. Imports neither streams nor agents."""
