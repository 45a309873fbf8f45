"""The floor of aiokafka: a consumer that reads and decodes, and does nothing else."""

from __future__ import annotations

import msgspec
import uvloop
from aiokafka import AIOKafkaConsumer

from tests.bench.peers import job


async def main() -> None:
    """Runs until the process is ended."""
    consumer = AIOKafkaConsumer(
        job.SCANS, bootstrap_servers=job.KAFKA, group_id=job.GROUP, auto_offset_reset="earliest",
        auto_commit_interval_ms=500, isolation_level="read_committed",
    )  # fmt: skip
    await consumer.start()
    print("ready", flush=True)
    while True:
        for records in (await consumer.getmany(timeout_ms=100, max_records=10_000)).values():
            for record in records:
                try:
                    job.decode(record.value)
                except msgspec.MsgspecError:
                    continue


if __name__ == "__main__":
    uvloop.run(main())
