"""Kafka: topics, clients, access rights, transactions, compacted topics, dead letters."""
