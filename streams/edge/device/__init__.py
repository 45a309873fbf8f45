"""A checkpoint device: scans, the outbox, the uplink and the terminal screen."""
