"""The faults. Each runs while events flow, and returns when what it broke is mended."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable

from .deployment import Deployment

Fault = Callable[[Deployment, random.Random], None]
FAULTS: dict[str, Fault] = {}
OF_CLICKHOUSE: set[str] = set()
"""Faults that screening must not notice."""
LONG: set[str] = set()
"""Faults of minutes, run when they are named only."""
KILLS = 5


def fault(name: str, clickhouse: bool = False, long: bool = False) -> Callable[[Fault], Fault]:
    def add(function: Fault) -> Fault:
        FAULTS[name] = function
        if long:
            LONG.add(name)
        if clickhouse:
            OF_CLICKHOUSE.add(name)
        return function

    return add


def rest(rng: random.Random, low: float, high: float) -> None:
    time.sleep(rng.uniform(low, high))


@fault("none")
def nothing(d: Deployment, rng: random.Random) -> None:
    time.sleep(5)


def _kills(role: str) -> Fault:
    def kill(d: Deployment, rng: random.Random) -> None:
        for _ in range(KILLS):
            rest(rng, 0.2, 5)
            d.kill(role, rng.choice((0, 0, 1)))

    return kill


for _role in ("screening", "recording", "lists"):
    fault(f"kill -9 {_role}")(_kills(_role))


@fault("kill -9 any two at once")
def kill_two(d: Deployment, rng: random.Random) -> None:
    for _ in range(KILLS):
        for role in rng.sample(("screening", "recording", "lists"), 2):
            d.kill(role)
        rest(rng, 2, 6)


@fault("SIGTERM in a full batch")
def terminate(d: Deployment, rng: random.Random) -> None:
    for role in ("recording", "screening"):
        rest(rng, 1, 3)
        d.load.rate = 2000
        rest(rng, 0.5, 1.5)
        d.signal(role, signal.SIGTERM)  # and it is started again
        rest(rng, 4, 6)
        d.load.rate = 300


def _frozen(role: str) -> Fault:
    def freeze(d: Deployment, rng: random.Random) -> None:
        """Past the session time-out of 10 s, while a second worker takes over; then it wakes with what it had in hand."""
        d.start(f"{role}-2")
        time.sleep(6)
        d.load.rate = 800
        rest(rng, 1, 2)
        d.signal(role, signal.SIGSTOP)
        rest(rng, 14, 18)
        d.signal(role, signal.SIGCONT)
        d.load.rate = 300
        time.sleep(4)
        d.leave(f"{role}-2")

    return freeze


for _role in ("screening", "recording", "lists"):
    fault(f"SIGSTOP and CONT {_role}")(_frozen(_role))


@fault("join and leave")
def join(d: Deployment, rng: random.Random) -> None:
    for _ in range(2):
        for role in ("screening", "recording"):
            d.start(f"{role}-2")
        rest(rng, 2, 6)
        for role in ("screening", "recording"):
            d.leave(f"{role}-2")
        rest(rng, 0, 2)


@fault("Kafka restarted")
def broker(d: Deployment, rng: random.Random) -> None:
    rest(rng, 0, 2)
    d.broker.kill() if rng.random() < 0.5 else d.broker.stop()
    rest(rng, 4, 6)
    d.broker.start()


@fault("Kafka down 60 s")
def broker_long(d: Deployment, rng: random.Random) -> None:
    d.broker.kill()
    time.sleep(60)
    d.broker.start()


@fault("ClickHouse killed", clickhouse=True)
def clickhouse_killed(d: Deployment, rng: random.Random) -> None:
    for _ in range(KILLS):
        rest(rng, 0.2, 3)
        d.server.kill()
        d.server.start()


@fault("ClickHouse down 30 s", clickhouse=True)
def clickhouse_down(d: Deployment, rng: random.Random) -> None:
    d.server.kill()
    d.load.rate = 1000
    time.sleep(30)
    d.load.rate = 300
    d.server.start()


@fault("ClickHouse down, recorder killed", clickhouse=True)
def clickhouse_down_and_kill(d: Deployment, rng: random.Random) -> None:
    d.server.kill()
    rest(rng, 1, 4)
    d.kill("recording")
    rest(rng, 6, 8)
    if d.ended:
        d.observer.wrong.append("a recorder that starts while its database is down does not wait for it")
    d.server.start()


@fault("ClickHouse hangs 20 s", clickhouse=True)
def clickhouse_hangs(d: Deployment, rng: random.Random) -> None:
    rest(rng, 0, 2)
    d.server_signal(signal.SIGSTOP)
    time.sleep(20)
    d.server_signal(signal.SIGCONT)


@fault("ClickHouse hangs, recorder ended", clickhouse=True)
def clickhouse_hangs_and_end(d: Deployment, rng: random.Random) -> None:
    d.server_signal(signal.SIGSTOP)
    rest(rng, 2, 4)
    if (seconds := d.leave("recording")) > 30:
        d.observer.wrong.append(f"a recorder whose database hangs took {seconds:.0f} s to end")
    d.start("recording")
    rest(rng, 3, 5)
    d.server_signal(signal.SIGCONT)


@fault("ClickHouse slow", clickhouse=True)
def clickhouse_slow(d: Deployment, rng: random.Random) -> None:
    d.link.seconds_a_packet = 0.3
    time.sleep(20)
    d.link.heal()


@fault("replies lost", clickhouse=True)
def replies(d: Deployment, rng: random.Random) -> None:
    for _ in range(8):
        d.link.lose_reply()
        rest(rng, 1, 2)
    d.link.heal()
    if not d.link.replies_lost:
        d.observer.wrong.append("no reply was lost")


@fault("link silent 15 s", clickhouse=True)
def silent(d: Deployment, rng: random.Random) -> None:
    """Nobody hears of it, and afterwards the old connection stays as dead as after a firewall's time-out."""
    rest(rng, 0, 2)
    d.link.silent = True
    time.sleep(15)
    d.link.refuses, d.link.silent = False, False


@fault("ClickHouse read-only", clickhouse=True)
def read_only(d: Deployment, rng: random.Random) -> None:
    users = d.server.folder / "users.xml"
    before = users.read_text()
    users.write_text(before.replace("<default/></profiles>", "<default><readonly>1</readonly></default></profiles>"))
    time.sleep(4)
    d.link.cut()
    time.sleep(8)
    users.write_text(before)
    time.sleep(3)
    d.link.cut()


@fault("table missing", clickhouse=True)
def table(d: Deployment, rng: random.Random) -> None:
    """Facts cannot be written; receipts and dead letters can."""
    query = d.observer.query
    query("RENAME TABLE ninezero_data.screening_facts TO ninezero_data.away")
    d.observer.emptied = True  # the observer counts in that table
    time.sleep(3)
    letters = "SELECT sum(records) FROM ninezero.dead_letters_by_hour"
    before = query(letters)[0][0]
    time.sleep(8)
    after = query(letters)[0][0]
    query("RENAME TABLE ninezero_data.away TO ninezero_data.screening_facts")
    d.observer.emptied = False
    if after == before:
        d.observer.wrong.append("without the table of facts, dead letters are not recorded either")


@fault("ClickHouse emptied", clickhouse=True)
def emptied(d: Deployment, rng: random.Random) -> None:
    d.observer.emptied = True
    for name in ("ninezero_data", "ninezero"):
        d.observer.query(f"DROP DATABASE {name}")
    time.sleep(6)


@fault("dead letters unavailable")
def no_dead_letters(d: Deployment, rng: random.Random) -> None:
    """The topic takes nothing larger than a few bytes: a dead letter cannot be written, and processing must wait."""
    from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

    def limit(size: int) -> None:
        admin = KafkaAdminClient(bootstrap_servers=d.broker.bootstrap)
        admin.alter_configs(
            [
                ConfigResource(
                    ConfigResourceType.TOPIC, f"{d.prefix}dead-letters", configs={"max.message.bytes": str(size)}
                )
            ]
        )
        admin.close()

    limit(10)
    rest(rng, 5, 8)
    d.kill("screening")
    rest(rng, 3, 5)
    limit(2 << 20)


@fault("partitions added")
def partitions(d: Deployment, rng: random.Random) -> None:
    from kafka.admin import KafkaAdminClient

    admin = KafkaAdminClient(bootstrap_servers=d.broker.bootstrap)
    for topic in ("checkpoint-scans", "station-arrivals", "screening-decisions"):
        name = d.prefix + topic
        count = len(admin.describe_topics([name])[0]["partitions"])
        admin.create_partitions({name: count + 2})
    admin.close()
    time.sleep(8)


@fault("random combination")
def combination(d: Deployment, rng: random.Random) -> None:
    names = [
        "kill -9 screening",
        "kill -9 recording",
        "kill -9 lists",
        "Kafka restarted",
        "ClickHouse killed",
        "replies lost",
    ]
    for name in rng.sample(names, 3):
        FAULTS[name](d, rng)


@fault("a bit of everything", clickhouse=False)
def bit_of_everything(d: Deployment, rng: random.Random) -> None:
    """For every day: each role killed once, ClickHouse too, and a reply lost, within seconds."""
    d.link.lose_reply()
    rest(rng, 0.5, 1.5)
    d.kill("recording")
    d.server.kill()
    rest(rng, 0.5, 1.5)
    d.kill("screening")
    d.kill("lists")
    d.server.start()
    rest(rng, 1, 2)
