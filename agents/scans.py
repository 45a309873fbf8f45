"""Sends scans and reads their outcomes back, for `ninezero scan`."""

from __future__ import annotations

import asyncio

from schemas.events import Outcomes, Scan, decoder
from streams import kafka
from streams.kafka import Writer
from streams.settings import Settings
from streams.topics import OUTCOMES, SCANS

WAIT_SECONDS = 10.0


async def send(settings: Settings, events: list[tuple[bytes, Scan]]) -> bool:
    """Sends the events and prints an outcome for each; false if some were not checked within ten seconds."""
    await kafka.check(settings)
    reader = kafka.consumer(settings)
    await reader.start()
    writer = Writer(settings)
    await writer.start()
    try:
        name = settings.topic(OUTCOMES.name)
        partitions = [kafka.TopicPartition(name, p) for p in range(await writer.partitions(name))]
        reader.assign(partitions)
        await reader.seek_to_end(*partitions)
        await writer.send([(SCANS, event.site_id.encode(), value) for value, event in events])
        waiting = {(event.device_id, event.seq) for _, event in events}
        found: dict[tuple[str, int], tuple[str, list[int]]] = {}
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        while waiting and asyncio.get_running_loop().time() < deadline:
            for records in (await reader.getmany(timeout_ms=200)).values():
                for record in records:
                    for device, seq, outcome, people in decoder(Outcomes).decode(record.value).outcomes:
                        if (device, seq) in waiting:
                            waiting.discard((device, seq))
                            found[device, seq] = (outcome, people)
    finally:
        await writer.stop()
        await reader.stop()
    for _, event in events:
        outcome, people = found.get((event.device_id, event.seq), ("not checked", []))
        whom = f" (person {', '.join(map(str, people))})" if people else ""
        print(f"{event.device_id} {event.seq}: {outcome}{whom}")
    return not waiting
