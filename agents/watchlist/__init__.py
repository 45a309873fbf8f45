"""The watchlist: from pushed batches to the watchlist topic, receipts and corrections, and from that topic to the index."""
