"""Log output of a worker: formats, and one line instead of thousands while something is out of order."""
