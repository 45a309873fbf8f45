"""The watchlist index: millions of entries in memory, found by token."""
