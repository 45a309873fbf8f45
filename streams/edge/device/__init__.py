"""A checkpoint device: what the staff see, the outbox, and the connection to Kafka."""
