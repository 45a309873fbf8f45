"""Screening: from scans and arrivals to outcomes, alerts and decisions.

One event passes through these files in this order: `agent.py` gathers chunks to a batch, `batch.py` holds its records,
`decide_batch.py` decides them, `batch_result.py` collects what follows, and `agent.py` writes it and marks the chunks as
done.
"""
