"""A real single-node Apache Kafka on loopback."""
