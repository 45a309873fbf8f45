"""A checkpoint device: what the staff see, the outbox, the connection to Kafka, and the screen in a terminal."""
