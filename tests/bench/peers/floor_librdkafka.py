"""The floor of librdkafka from Python: a consumer that reads and decodes, and does nothing else."""

from __future__ import annotations

import msgspec
from confluent_kafka import Consumer

from tests.bench.peers import job


def main() -> None:
    """Runs until the process is ended."""
    consumer = Consumer(job.LIBRDKAFKA | {"enable.auto.commit": True, "auto.commit.interval.ms": 500})
    consumer.subscribe([job.SCANS])
    print("ready", flush=True)
    while True:
        for message in consumer.consume(10_000, 0.1):
            try:
                job.decode(message.value())
            except msgspec.MsgspecError:
                continue


if __name__ == "__main__":
    main()
