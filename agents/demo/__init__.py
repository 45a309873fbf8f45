"""The demo: replays a scenario through the whole pipeline and compares the counts with the published totals."""
