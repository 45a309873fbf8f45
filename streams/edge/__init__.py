"""The programs of checkpoints and health authorities: the only code that reads identities.

It needs neither Faust nor ClickHouse.
"""
