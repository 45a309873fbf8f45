"""The job as an unmodified Faust agent with `take` for batches, as its documentation shows. It acknowledges a batch whose insert failed."""

from __future__ import annotations

import asyncio
import tempfile
from collections import defaultdict

import faust

from tests.bench.peers import job

app = faust.App(
    job.GROUP, broker=f"kafka://{job.KAFKA}", web_enabled=False, topic_allow_declare=False, topic_disable_leader=True,
    consumer_auto_offset_reset="earliest", broker_commit_interval=0.5, datadir=tempfile.mkdtemp(), producer_acks=-1,
)  # fmt: skip
scans, alerts, letters, outcomes = (
    app.topic(name, key_serializer="raw", value_serializer="raw")
    for name in (job.SCANS, job.ALERTS, job.DEAD_LETTERS, job.OUTCOMES)
)
watchlist = job.load_watchlist()


@app.agent(scans)
async def screen(stream: faust.StreamT) -> None:
    """Handles one batch at a time: decide, send, insert. Faust then acknowledges the batch."""
    rows = job.Rows()
    async for events in stream.take_events(10_000, within=job.FLUSH_SECONDS):
        sent = []
        outcomes_by_site: dict[bytes, list[object]] = defaultdict(list)
        for event in events:
            message, at = event.message, int(event.message.timestamp * 1000)
            try:
                key, row, alert, outcome = job.decide(watchlist, event.value, at)
            except job.Rejected as rejection:
                letter = job.dead_letter(event.value, message.partition, message.offset, at, rejection)
                sent.append(await letters.send(key=b"checkpoint-scans", value=letter))
            else:
                rows.add(row)
                if alert is not None:
                    sent.append(await alerts.send(key=key, value=alert))
                if outcome is not None:
                    outcomes_by_site[key].append(outcome)
        for site, group in outcomes_by_site.items():
            sent.append(await outcomes.send(key=site, value=job.outcomes_record(site, group)))
        await asyncio.gather(*sent)
        await asyncio.to_thread(rows.flush)


if __name__ == "__main__":
    app.main()
