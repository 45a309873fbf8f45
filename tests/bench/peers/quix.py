"""The job on Quix Streams: one function per message, alerts to a topic, rows to a sink that is flushed before each commit."""

from __future__ import annotations

import logging
from typing import Any

from quixstreams import Application, message_context
from quixstreams.sinks import BaseSink

from tests.bench.peers import job


class ClickHouse(BaseSink):
    """A sink that inserts once per checkpoint. `flush` is called before the offsets are committed, and its error aborts the commit."""

    def __init__(self) -> None:
        super().__init__()
        self._rows = job.Rows()

    def add(self, value: Any, **_: Any) -> None:
        """Adds one row."""
        self._rows.add(value.row)

    def flush(self) -> None:
        """Inserts the rows."""
        self._rows.flush()


def main() -> None:
    """Runs until the process is ended."""
    watchlist = job.load_watchlist()
    app = Application(
        job.KAFKA, consumer_group=job.GROUP, auto_offset_reset="earliest", commit_interval=job.FLUSH_SECONDS,
        commit_every=job.FLUSH_ROWS, auto_create_topics=False, use_changelog_topics=False, loglevel=logging.WARNING,
        producer_extra_config={"acks": "all", "linger.ms": 20},
    )  # fmt: skip

    def decide(value: bytes, key: bytes, timestamp: int, headers: Any) -> job.Decided | bytes:
        try:
            return job.decide(watchlist, value, timestamp)
        except job.Rejected as rejection:
            at = message_context()
            return job.dead_letter(value, at.partition, at.offset, timestamp, rejection)

    decided = app.dataframe(app.topic(job.SCANS, value_deserializer="bytes", key_deserializer="bytes")).apply(
        decide, metadata=True
    )
    raw = {"value_serializer": "bytes", "key_serializer": "bytes"}
    letters = decided.filter(lambda value: type(value) is bytes)
    letters.to_topic(app.topic(job.DEAD_LETTERS, **raw), key=lambda value: b"checkpoint-scans")
    accepted = decided.filter(lambda value: type(value) is not bytes)
    accepted.filter(lambda value: value.alert is not None).apply(lambda value: value.alert).to_topic(
        app.topic(job.ALERTS, **raw)
    )
    if job.WITH_OUTCOMES:
        accepted.apply(lambda value: value.outcome).apply(
            lambda outcome, key, at, headers: job.outcomes_record(key, [outcome]), metadata=True
        ).to_topic(app.topic(job.OUTCOMES, **raw))
    accepted.sink(ClickHouse())
    app.run()


if __name__ == "__main__":
    main()
