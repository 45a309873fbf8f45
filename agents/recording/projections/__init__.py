"""Kafka records → ClickHouse rows: plain functions, one file for what is decoded how and two for the rows."""
