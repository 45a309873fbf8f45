"""What runs at a checkpoint: the only code that sees an identity. Neither Faust nor ClickHouse is needed here."""
