"""Fuzzing: of the parsers by atheris, and of a running deployment by hostile records."""
