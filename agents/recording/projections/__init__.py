"""Projections: how Kafka records become ClickHouse rows. Plain functions, without I/O."""
