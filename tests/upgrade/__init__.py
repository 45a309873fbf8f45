"""The two-release test: workers of release N are replaced by workers of release N+1, and back, under load.

What one release does alone is tested elsewhere: an edited migration, a half-applied one and a database from the future in
`tests/unit/clickhouse/test_migrations.py`, golden records in `tests/unit/project/test_formats.py`, and records that cannot be read in
`tests/integration/kafka/test_unreadable_records.py`.
"""
