"""Kafka and ClickHouse. Knows nothing of epidemics; imports schemas only."""
