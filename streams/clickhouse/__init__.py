"""ClickHouse: engines, migrations, the sink and its progress."""
