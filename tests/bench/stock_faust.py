"""The job of `tests.bench.screening` as an unmodified Faust agent, written as the documentation of Faust does."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from datetime import UTC, datetime

import faust

from ninezero.agents.logic.policy.policy import DEFAULT
from ninezero.agents.screening.alerts import build_alert
from ninezero.agents.watchlist.projection import WatchlistProjection
from ninezero.schemas import formats
from ninezero.schemas.events import DecisionGroup, Decisions, Outcomes, Scan, encode
from ninezero.schemas.times import unix_micros
from ninezero.streams.kafka.decoding import check_clock, decode
from ninezero.streams.kafka.watchlist_replica import WatchlistReplica
from ninezero.streams.settings import load
from tests.bench.peers import rules

settings = load()
app = faust.App(
    settings.topic("stock"), broker=f"kafka://{settings.kafka}", web_enabled=False, topic_allow_declare=False, topic_disable_leader=True,
    consumer_auto_offset_reset="earliest", broker_commit_interval=0.5, datadir=os.environ["BENCH_FOLDER"],
)  # fmt: skip
scans = app.topic(settings.topic("checkpoint-scans"), key_serializer="raw", value_serializer="raw")
outcomes, alerts, decisions = (
    app.topic(settings.topic(name), key_serializer="raw", value_serializer="raw")
    for name in ("screening-outcomes", "screening-alerts", "screening-decisions")
)
lists = WatchlistProjection()
replica = WatchlistReplica(settings, lists)


@app.agent(scans)
async def screen(stream: faust.Stream) -> None:
    """Handles one event at a time: decode, validate, decide, write."""
    await replica.start()
    await replica.ready.wait()
    async for event in stream.events():
        scan = decode(Scan, event.value)
        at_us = unix_micros(scan.observed_at)
        check_clock(at_us, int(event.message.timestamp * 1000), settings.replay)
        now = datetime.now(UTC)
        decision = rules.decide_scan(scan, at_us, lists.index, settings.home, False)
        site = scan.site_id.encode()
        answer = Outcomes(
            scan.site_id, now, replica.version, [(scan.device_id, scan.seq, decision.outcome, decision.people)]
        )
        await outcomes.send(key=site, value=encode(answer))
        if decision.hits:
            await alerts.send(
                key=site, value=encode(build_alert(scan, decision, False, now, replica.version, DEFAULT.label))
            )
        decided = DecisionGroup(scan.kind, scan.direction, "", len(scan.people), decision.outcome, False, [hit.rule for hit in decision.hits],
                        [], [0], [scan.device_id], [scan.seq], [at_us // 1000], [0])  # fmt: skip
        await decisions.send(
            key=site,
            headers=dict(formats.DECISIONS.headers),
            value=encode(
                Decisions(DEFAULT.label, [], int(time.time() * 1000), replica.version, [scan.site_id], [decided])
            ),
        )


async def main() -> None:
    """Runs until the process is ended."""
    await app.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
    sys.exit(0)
