"""The job as a stock Faust agent: `take` for batches, as Faust's documentation has it. It acknowledges a batch whose insert failed."""

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
listed = job.load()


@app.agent(scans)
async def screen(stream: faust.StreamT) -> None:
    """A batch at a time: judge, send, insert; then it is acknowledged."""
    rows = job.Rows()
    async for events in stream.take_events(10_000, within=job.FLUSH_SECONDS):
        sent = []
        answers: dict[bytes, list[object]] = defaultdict(list)
        for event in events:
            message, at = event.message, int(event.message.timestamp * 1000)
            try:
                key, row, alert, answer = job.judge(listed, event.value, at)
            except job.Rejected as refused:
                letter = job.letter(event.value, message.partition, message.offset, at, refused)
                sent.append(await letters.send(key=b"checkpoint-scans", value=letter))
            else:
                rows.add(row)
                if alert is not None:
                    sent.append(await alerts.send(key=key, value=alert))
                if answer is not None:
                    answers[key].append(answer)
        for site, some in answers.items():
            sent.append(await outcomes.send(key=site, value=job.outcomes(site, some)))
        await asyncio.gather(*sent)
        await asyncio.to_thread(rows.flush)


if __name__ == "__main__":
    app.main()
