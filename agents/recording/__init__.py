"""Recording: Kafka topics become ClickHouse tables; completeness, retention, publishing and erasure of those tables."""
