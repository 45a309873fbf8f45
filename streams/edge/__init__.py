"""What runs at a checkpoint and at a health authority: the only code that reads identities.

It needs neither Faust nor ClickHouse.
"""
