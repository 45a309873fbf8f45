"""Epidemic entry screening on Kafka, Faust and ClickHouse."""
