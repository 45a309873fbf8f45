"""Faults of storage and topics: data is lost, restored from an older copy, or a topic is recreated."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.structs import OffsetAndMetadata

from ninezero.schemas.rows import FIRST_WINS
from tests.support import wait_for

from .deployment import Deployment
from .faults import fault, rest
from .load import SCANS
from .observer import DEAD, DECISIONS, RECEIPTS

FACTS = (
    "screening_facts", "device_events", "dead_letter_facts", "disposition_facts", "quarantine_cases", "followup_cases",
    "push_receipts",
)  # fmt: skip


# -- ClickHouse has lost data ----------------------------------------------------------------------------------------------


def recreate_table(d: Deployment, table: str) -> None:
    """Drops a table and creates it again, empty, as an administrator would."""
    [(statement,)] = d.observer.query(f"SHOW CREATE TABLE ninezero_data.{table}")
    d.observer.query(f"DROP TABLE ninezero_data.{table}")
    d.observer.query(statement)


@fault("facts dropped, progress kept", clickhouse=True)
def facts_dropped(d: Deployment, rng: random.Random) -> None:
    d.observer.emptied = True
    rest(rng, 2, 4)
    recreate_table(d, "screening_facts")
    rest(rng, 2, 4)
    recreate_table(d, rng.choice(FACTS))


@fault("facts dropped while recording is down", clickhouse=True)
def facts_dropped_alone(d: Deployment, rng: random.Random) -> None:
    """No process holds the lost rows in memory, so the loss must be noticed from the database alone."""
    d.observer.emptied = True
    rest(rng, 2, 4)
    d.leave("recording")
    recreate_table(d, "screening_facts")
    recreate_table(d, "dead_letter_facts")
    d.start("recording")
    rest(rng, 2, 4)


@fault("a table truncated", clickhouse=True)
def truncated(d: Deployment, rng: random.Random) -> None:
    d.observer.emptied = True
    for table in rng.sample(FACTS, 4):
        rest(rng, 1, 3)
        d.observer.query(f"TRUNCATE TABLE ninezero_data.{table}")


@fault("a table missing, then created by migrate", clickhouse=True)
def migrated(d: Deployment, rng: random.Random) -> None:
    d.observer.emptied = True
    rest(rng, 1, 3)
    d.observer.query("DROP TABLE ninezero_data.screening_facts")
    d.observer.query("DROP TABLE ninezero.screening_by_minute")  # a view
    rest(rng, 4, 6)
    d.run("migrate")  # or the recorder, if it noticed first
    for name in ("ninezero_data.screening_facts", "ninezero.screening_by_minute"):
        if not d.observer.query(f"EXISTS TABLE {name}")[0][0]:
            d.observer.wrong.append(f"migrate does not create {name}")


@fault("a view missing", clickhouse=True)
def view(d: Deployment, rng: random.Random) -> None:
    """Recording continues without the table."""
    d.observer.query("DROP TABLE ninezero.screening_by_minute")
    rest(rng, 4, 6)
    if d.run("migrate").returncode:
        d.observer.wrong.append("migrate fails")


@fault("progress dropped", clickhouse=True)
def progress_dropped(d: Deployment, rng: random.Random) -> None:
    d.observer.emptied = True
    rest(rng, 1, 3)
    d.observer.query("DROP TABLE ninezero_data.recorder_progress")
    rest(rng, 2, 4)


@fault("facts and progress dropped", clickhouse=True)
def facts_and_progress_dropped(d: Deployment, rng: random.Random) -> None:
    d.observer.emptied = True
    rest(rng, 1, 3)
    recreate_table(d, rng.choice(FACTS))
    recreate_table(d, "recorder_progress")
    rest(rng, 2, 4)


BY_DAY = ("screening_facts", "device_events", "disposition_facts")
"""The tables with one partition per day."""

COVERED_SECONDS = 30
"""Age from which each single row is covered by a tally. Marks cover the inserts of younger rows."""


@fault("a partition lost", clickhouse=True)
def partition_lost(d: Deployment, rng: random.Random) -> None:
    d.observer.emptied = True
    for table in rng.sample(BY_DAY, 2):
        rest(rng, 1, 4)
        days = d.observer.query(f"SELECT DISTINCT toString(day) FROM ninezero_data.{table}")
        d.observer.query(f"ALTER TABLE ninezero_data.{table} DROP PARTITION '{rng.choice(days)[0]}'")


@fault("a part detached", clickhouse=True)
def part_detached(d: Deployment, rng: random.Random) -> None:
    """The newest part of a table, then a random one, which may have been merged of many inserts."""
    d.observer.emptied = True
    for table in rng.sample(BY_DAY, 2):
        for newest in (True, False):
            rest(rng, 1, 4)
            parts = d.observer.query(
                f"SELECT name FROM system.parts WHERE database = 'ninezero_data' AND table = '{table}' AND active AND rows > 0 ORDER BY max_block_number"
            )
            part = parts[-1] if newest else rng.choice(parts)
            with contextlib.suppress(Exception):  # it was merged meanwhile
                d.observer.query(f"ALTER TABLE ninezero_data.{table} DETACH PART '{part[0]}'")


@fault("rows deleted by hand", clickhouse=True)
def rows_deleted(d: Deployment, rng: random.Random) -> None:
    d.observer.emptied = True
    rest(rng, COVERED_SECONDS, COVERED_SECONDS + 5)
    before = FIRST_WINS - int((time.time() - COVERED_SECONDS) * 1000)
    for table in rng.sample(BY_DAY, 2):
        rest(rng, 1, 3)
        d.observer.query(
            f"ALTER TABLE ninezero_data.{table} DELETE WHERE version > {before} AND seq % {rng.randrange(2, 60)} = 0 SETTINGS mutations_sync = 2"
        )


@fault("ClickHouse restored from an older state", clickhouse=True)
def restored(d: Deployment, rng: random.Random) -> None:
    d.observer.emptied = True
    copy = Path(d.server.folder, "copy")
    with stopped(d):
        shutil.copytree(Path(d.server.folder, "data"), copy, symlinks=True)
    rest(rng, 4, 6)
    with stopped(d):
        shutil.rmtree(Path(d.server.folder, "data"))
        copy.rename(Path(d.server.folder, "data"))


@fault("a table restored from an older state", clickhouse=True)
def table_restored(d: Deployment, rng: random.Random) -> None:
    """The facts are older than the progress."""
    d.observer.emptied = True
    table = Path(
        d.server.folder, "data", "data", "ninezero_data", rng.choice(FACTS[:-1])
    ).resolve()  # a link into `store`
    copy = Path(d.server.folder, "copy")
    with stopped(d):
        shutil.copytree(table, copy)
    rest(rng, 4, 6)
    with stopped(d):
        shutil.rmtree(table)
        copy.rename(table)


@contextlib.contextmanager
def stopped(d: Deployment) -> Iterator[None]:
    """Keeps the server down inside the block."""
    d.server.kill()
    yield
    d.server.start()


@fault("short mix of data losses")
def short_mix_of_losses(d: Deployment, rng: random.Random) -> None:
    """Facts are lost, and the topic of scans is recreated. Short enough for every test run."""
    d.observer.emptied = True
    rest(rng, 0.5, 1)
    recreate_table(d, "screening_facts")
    recreate_topic(d, SCANS)
    d.load.go()
    rest(rng, 1, 1.5)


# -- ClickHouse rejects inserts ----------------------------------------------------------------------------------------------


@fault("too many parts", clickhouse=True)
def parts(d: Deployment, rng: random.Random) -> None:
    """The server rejects inserts into a partition with two parts, and merges no parts."""
    with stopped(d):
        d.server.settings["merge_tree"] = {"parts_to_delay_insert": 1, "parts_to_throw_insert": 2}
    d.observer.query("SYSTEM STOP MERGES")
    wait_for_rejection(d, "Too many parts")
    rest(rng, 6, 8)
    with stopped(d):
        d.server.settings["merge_tree"] = {}


@fault("disk full", clickhouse=True)
def disk(d: Deployment, rng: random.Random) -> None:
    """Fills a small file system of its own to the last byte: a tmpfs if we may mount one, else a limit on the size of files."""
    data, small = Path(d.server.folder, "data"), Path(d.server.folder, "small")
    small.mkdir()
    held = int(subprocess.check_output(["du", "-sm", data]).split()[0])
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={held + 256}m", "tmpfs", small], capture_output=True
    ).returncode:
        small.rmdir()
        subprocess.run(["prlimit", f"--pid={d.server.pid}", "--fsize=1024:unlimited"], check=True)
        rest(rng, 8, 10)
        with stopped(d):
            return
    try:
        with stopped(d):
            shutil.move(data, small / "data")
            data.symlink_to(small / "data")
        rest(rng, 1, 2)
        with (small / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while filler.write(b"\0" * 65536):
                pass
        wait_for_rejection(d, "o space left", "annot write", "NOT_ENOUGH_SPACE", "ot enough space")
        rest(rng, 6, 8)
        (small / "filler").unlink()
        rest(rng, 1, 2)
    finally:
        with stopped(d):
            if data.is_symlink():
                data.unlink()
                shutil.move(small / "data", data)
            subprocess.run(["umount", small], check=True)
            small.rmdir()


@fault("ClickHouse down 1 s", clickhouse=True)
def down_one_second(d: Deployment, rng: random.Random) -> None:
    for _ in range(3):
        rest(rng, 0.5, 2)
        d.server.kill()
        time.sleep(1)
        d.server.start()


@fault("ClickHouse down 300 s", clickhouse=True, long=True)
def down_five_minutes(d: Deployment, rng: random.Random) -> None:
    d.load.rate = 60
    d.server.kill()
    time.sleep(300)
    d.load.rate = 300
    d.server.start()


def wait_for_rejection(d: Deployment, *messages: str) -> None:
    """Waits until the recording role logs one of the messages: ClickHouse has rejected an insert."""
    log = d.folder / "recording.log"
    begins = log.stat().st_size

    def logged() -> bool:
        with log.open("rb") as file:
            file.seek(begins)
            text = file.read().decode(errors="replace")
        return any(message in text for message in messages)

    wait_for(logged, 30, f"a rejected insert: {messages[0]}")


# -- topics ----------------------------------------------------------------------------------------------------------------


def recreate_topic(d: Deployment, topic: str, pause: float = 0.0) -> str:
    """Deletes a topic when everything in it is processed, and creates it again. Returns the id of the old topic."""
    d.load.pause()
    wait_for(lambda: settled(d), 60, "everything to be processed")
    with d.observer.held():
        with contextlib.closing(KafkaAdminClient(bootstrap_servers=d.broker.bootstrap)) as admin:
            name = d.prefix + topic
            [old] = admin.describe_topics([name])
            admin.delete_topics([name])
            wait_for(lambda: name not in admin.list_topics(), 30, "the topic to be deleted")
        time.sleep(pause)
        done = d.run("topics", "create", "--partitions", str(len(old["partitions"])))
        assert done.returncode == 0, done.stderr
        d.load.recreated(topic, d.observer.recreated(topic, str(old["topic_id"])))
    return str(old["topic_id"])


def _topic_recreated(topic: str) -> Any:
    def recreate(d: Deployment, rng: random.Random) -> None:
        """The new topic has other records at the same offsets. Workers may or may not notice that the old one was missing."""
        rest(rng, 2, 4)
        recreate_topic(d, topic, rng.uniform(0, 12))
        d.load.go()
        rest(rng, 6, 8)

    return recreate


for _topic in (SCANS, DECISIONS, DEAD, RECEIPTS, "register", "policies", "list-register"):
    fault(f"{_topic} recreated")(_topic_recreated(_topic))


@fault("offsets of a deleted topic")
def old_offsets(d: Deployment, rng: random.Random) -> None:
    """A worker commits for the old topic after the topic was recreated. No record of the new topic may be skipped."""
    rest(rng, 2, 4)
    old = recreate_topic(d, SCANS)
    d.leave("screening")
    group, name = f"{d.prefix}ninezero-screening", d.prefix + SCANS
    with contextlib.closing(KafkaConsumer(bootstrap_servers=d.broker.bootstrap, group_id=group)) as late:
        places = [TopicPartition(name, number) for number in late.partitions_for_topic(name) or ()]
        late.assign(places)
        late.commit({tp: OffsetAndMetadata(50, old, -1) for tp in places})
    d.load.go()
    rest(rng, 3, 4)
    d.start("screening")
    rest(rng, 4, 6)


def settled(d: Deployment) -> bool:
    """Returns whether everything that was sent is processed and committed."""
    d.observer.fresh()
    return d.observer.idle


@fault("oldest scans expired")
def oldest_gone(d: Deployment, rng: random.Random) -> None:
    """Kafka deletes scans before they are read. They are lost, the log says so, and everything after them counts."""
    d.leave("screening")
    rest(rng, 2, 4)
    places = [place for place in list(d.observer.ends) if place[0] == SCANS]
    d.observer.fresh()
    low = {place: d.observer.ends[place] for place in places}
    with contextlib.closing(KafkaAdminClient(bootstrap_servers=d.broker.bootstrap)) as admin:
        admin.delete_records({TopicPartition(d.prefix + topic, n): offset for (topic, n), offset in low.items()})
    d.observer.fresh()
    forget(d, low)
    d.start("screening")
    rest(rng, 8, 10)
    if "were deleted before they were read" not in d.logs():
        d.observer.wrong.append("no role logs that records were deleted before they were read")


def forget(d: Deployment, low: dict[tuple[str, int], int]) -> None:
    """Expects nothing of the events that were deleted before they were decided."""
    observer, expected = d.observer, d.load.expected
    for place, offset in low.items():
        for at in [at for at in list(observer.source[place]) if at < offset]:
            event = observer.source[place][at]
            if event is None and (*place, at) not in observer.dead:
                expected.garbage.pop((*place, at), None)
                del observer.source[place][at]
            elif event is not None and event not in observer.decided:
                expected.acknowledged.discard(event)
                expected.expired.add(event)
                del observer.source[place][at]
