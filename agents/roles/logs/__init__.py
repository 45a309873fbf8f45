"""Log output of a worker: formats, and one line instead of thousands while a dependency fails."""
