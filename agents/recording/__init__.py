"""Topics to ClickHouse tables, and everything that happens to those tables later."""
