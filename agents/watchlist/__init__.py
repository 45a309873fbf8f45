"""Pushed batches to the watchlist topic, receipts and corrections."""
