"""Reference documents generated from the code."""
