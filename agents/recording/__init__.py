"""Recording: Kafka topics become ClickHouse tables; rollups, completeness, retention, publishing and erasure of those tables."""
