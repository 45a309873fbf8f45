"""`ninezero demo`: a scenario replayed through a real deployment, with a report."""
