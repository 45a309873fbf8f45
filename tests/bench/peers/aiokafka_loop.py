"""The job as a hand-written loop on aiokafka under uvloop: get many, decide, await acknowledgements, insert, commit."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tests.bench.peers import job


async def main() -> None:
    """Runs until the process is ended."""
    watchlist, rows = job.load_watchlist(), job.Rows()
    producer = AIOKafkaProducer(bootstrap_servers=job.KAFKA, acks="all", linger_ms=20)
    consumer = AIOKafkaConsumer(
        job.SCANS, bootstrap_servers=job.KAFKA, group_id=job.GROUP, auto_offset_reset="earliest", enable_auto_commit=False,
        isolation_level="read_committed",
    )  # fmt: skip
    await producer.start()
    await consumer.start()
    sent, read = [], 0
    while True:
        outcomes: dict[bytes, list[object]] = defaultdict(list)
        fetched = await consumer.getmany(timeout_ms=100, max_records=10_000)
        for records in fetched.values():
            for record in records:
                try:
                    key, row, alert, outcome = job.decide(watchlist, record.value, record.timestamp)
                except job.Rejected as rejection:
                    letter = job.dead_letter(record.value, record.partition, record.offset, record.timestamp, rejection)
                    sent.append(await producer.send(job.DEAD_LETTERS, letter, b"checkpoint-scans"))
                else:
                    rows.add(row)
                    if alert is not None:
                        sent.append(await producer.send(job.ALERTS, alert, key))
                    if outcome is not None:
                        outcomes[key].append(outcome)
            read += len(records)
        for site, group in outcomes.items():
            sent.append(await producer.send(job.OUTCOMES, job.outcomes_record(site, group), site))
        if read and rows.due:
            await asyncio.gather(*sent)
            await asyncio.to_thread(rows.flush)
            await consumer.commit()
            sent, read = [], 0


if __name__ == "__main__":
    uvloop.run(main())
