"""The code of the workers and the command line: pure logic, and thin agents that connect it to Kafka and ClickHouse."""
