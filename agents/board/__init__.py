"""The situation board: an HTTP page served by the recording role."""
