"""The faults. Each is caused while events arrive, and the function returns when it is over."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from .deployment import Deployment
from .failpoints import points

Fault = Callable[[Deployment, random.Random], None]
FAULTS: dict[str, Fault] = {}
OF_CLICKHOUSE: set[str] = set()
"""Faults that must not pause screening."""
FRESH: set[str] = set()
"""Faults that need a deployment in which nothing has run yet."""
OF_CLUSTER: set[str] = set()
"""Faults that need three brokers."""
LONG: set[str] = set()
"""Faults that take minutes. They run only when they are named."""
KILLS = 5


def fault(
    name: str, clickhouse: bool = False, fresh: bool = False, cluster: bool = False, long: bool = False
) -> Callable[[Fault], Fault]:
    def add(function: Fault) -> Fault:
        FAULTS[name] = function
        if cluster:
            OF_CLUSTER.add(name)
        if fresh:
            FRESH.add(name)
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


ROLES = ("screening", "recording", "lists", "ledgers")
KILLED_AT = 10
"""Number of failpoints at which a worker is killed. Before each it is also killed at a random moment."""


def _kills(role: str) -> Fault:
    def kill(d: Deployment, rng: random.Random) -> None:
        for point in points(role, rng)[:KILLED_AT]:
            rest(rng, 1, 4)
            if not d.kill_at(role, point):
                d.observer.wrong.append(f"the {role} role never reached {point}")

    return kill


for _role in ROLES:
    fault(f"kill -9 {_role}")(_kills(_role))


@fault("kill -9 any two together")
def kill_two(d: Deployment, rng: random.Random) -> None:
    for _ in range(2 * KILLS):
        for role in rng.sample(ROLES, 2):
            d.kill(role, rng.choice((0, 0, 1)))
        rest(rng, 1, 4)


@fault("one of three killed for good")
def lose(d: Deployment, rng: random.Random) -> None:
    """The worker is not started again, so its partitions wait for the end of its session."""
    for role in ROLES:
        d.start(f"{role}-2", f"{role}-3")
    rest(rng, 6, 8)
    for role in ROLES:
        d.lose(f"{role}-{rng.choice('23')}")
        rest(rng, 0, 1)
    rest(rng, 8, 10)
    for role in ROLES:
        for name in [name for name in d.workers if name.startswith(f"{role}-")]:
            d.leave(name)


@fault("SIGTERM in a full batch")
def terminate(d: Deployment, rng: random.Random) -> None:
    for role in ROLES:
        rest(rng, 1, 3)
        d.load.rate = 2000
        rest(rng, 0.5, 1.5)
        d.signal(role, signal.SIGTERM)  # the deployment starts it again
        rest(rng, 4, 6)
        d.load.rate = 300


def _frozen(role: str) -> Fault:
    def freeze(d: Deployment, rng: random.Random) -> None:
        """Pauses a worker for longer than its session, so that a second worker takes over, and once for less than its session."""
        d.start(f"{role}-2")
        time.sleep(4)
        d.load.rate = 800
        for least in (9, 3):
            rest(rng, 1, 2)
            d.signal(role, signal.SIGSTOP)
            rest(rng, least, least + 3)
            d.signal(role, signal.SIGCONT)
        d.load.rate = 300
        time.sleep(4)
        d.leave(f"{role}-2")

    return freeze


for _role in ROLES:
    fault(f"SIGSTOP and SIGCONT {_role}")(_frozen(_role))


@fault("workers join and leave")
def join(d: Deployment, rng: random.Random) -> None:
    """Up to three workers of each role start, stop and are killed, several of them together."""
    extra = [f"{role}-{n}" for role in ROLES for n in (2, 3)]
    until = time.monotonic() + 30
    while time.monotonic() < until:
        for name in rng.sample(extra, 3):
            if name not in d.workers:
                d.start(name)
            elif rng.random() < 0.3:
                d.kill(name)
            else:
                d.leave(name)
        rest(rng, 0.2, 2)
    for name in extra:
        if name in d.workers:
            d.leave(name)


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


@fault("Kafka hangs 30 s")
def broker_hangs(d: Deployment, rng: random.Random) -> None:
    """The broker accepts connections and answers nothing. No worker may end because of that."""
    pid, lives = d.broker.status().pid, len(d.ended)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    time.sleep(30)
    os.kill(pid, signal.SIGCONT)
    if len(d.ended) > lives:
        d.observer.wrong.append(f"workers ended by themselves: {d.ended[lives:]}")


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


@fault("ClickHouse down, recording killed", clickhouse=True)
def clickhouse_down_and_kill(d: Deployment, rng: random.Random) -> None:
    d.server.kill()
    rest(rng, 1, 4)
    d.kill("recording")
    rest(rng, 6, 8)
    if d.ended:
        d.observer.wrong.append("the recording role ends instead of waiting when ClickHouse is down at its start")
    d.server.start()


@fault("ClickHouse hangs 20 s", clickhouse=True)
def clickhouse_hangs(d: Deployment, rng: random.Random) -> None:
    rest(rng, 0, 2)
    d.server.signal(signal.SIGSTOP)
    time.sleep(20)
    d.server.signal(signal.SIGCONT)


@fault("ClickHouse hangs, recording stopped", clickhouse=True)
def clickhouse_hangs_and_end(d: Deployment, rng: random.Random) -> None:
    d.server.signal(signal.SIGSTOP)
    rest(rng, 2, 4)
    if (seconds := d.leave("recording")) > 30:
        d.observer.wrong.append(f"the recording role took {seconds:.0f} s to stop while ClickHouse hung")
    d.start("recording")
    rest(rng, 3, 5)
    d.server.signal(signal.SIGCONT)


@fault("ClickHouse slow", clickhouse=True)
def clickhouse_slow(d: Deployment, rng: random.Random) -> None:
    d.link.seconds_per_packet = 0.3
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
    """Neither side is notified. The old connection stays dead afterwards, as after the timeout of a firewall."""
    rest(rng, 0, 2)
    d.link.silent = True
    time.sleep(15)
    d.link.refuses, d.link.silent = False, False


@fault("ClickHouse read-only", clickhouse=True)
def read_only(d: Deployment, rng: random.Random) -> None:
    d.server.set_readonly(True)
    d.link.cut()
    time.sleep(8)
    d.server.set_readonly(False)
    d.link.cut()


@fault("table rejects rows", clickhouse=True)
def table(d: Deployment, rng: random.Random) -> None:
    """A column has another name. Facts cannot be inserted; receipts and dead letters can."""
    query, table = d.observer.query, "ninezero_data.screening_facts"
    query(f"ALTER TABLE {table} RENAME COLUMN people TO away")
    time.sleep(3)
    letters = "SELECT sum(records) FROM ninezero.dead_letters_by_hour"
    before = query(letters)[0][0]
    time.sleep(8)
    after = query(letters)[0][0]
    query(f"ALTER TABLE {table} RENAME COLUMN away TO people")
    if after == before:
        d.observer.wrong.append("dead letters are not recorded while the table of facts rejects rows")


@fault("ClickHouse emptied", clickhouse=True)
def emptied(d: Deployment, rng: random.Random) -> None:
    d.observer.emptied = True
    for name in ("ninezero_data", "ninezero"):
        d.observer.query(f"DROP DATABASE {name}")
    time.sleep(6)


@fault("dead letters unavailable")
def no_dead_letters(d: Deployment, rng: random.Random) -> None:
    """The topic accepts only a few bytes, so no dead letter can be written and processing must wait."""
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


@fault("poison first, then kill -9", fresh=True)
def poison(d: Deployment, rng: random.Random) -> None:
    """The first records of every topic are bad, nothing is committed yet, and each role is killed while it processes them."""
    d.load.spoil()
    for role in ROLES:
        d.start(
            role, failpoint=next(point for point in points(role, rng) if "Chunk.done" in point or "commit" in point)
        )
    d.begin()
    d.load.go()
    rest(rng, 3, 5)


def _at_a_point(role: str) -> Fault:
    def kill(d: Deployment, rng: random.Random) -> None:
        d.kill_at(role, points(role, rng)[0])

    return kill


def _stopped(role: str) -> Fault:
    def stop(d: Deployment, rng: random.Random) -> None:
        d.signal(role, signal.SIGSTOP)
        rest(rng, 2, 9)
        d.signal(role, signal.SIGCONT)

    return stop


def _joined(role: str) -> Fault:
    def come(d: Deployment, rng: random.Random) -> None:
        d.start(f"{role}-2")
        rest(rng, 1, 6)
        d.leave(f"{role}-2") if rng.random() < 0.5 else d.lose(f"{role}-2")

    return come


def _cut(d: Deployment, rng: random.Random) -> None:
    for _ in range(5):
        d.link.lose_reply() if rng.random() < 0.5 else d.link.cut()
        rest(rng, 0, 2)
    d.link.heal()


def _down(d: Deployment, rng: random.Random) -> None:
    d.server.kill()
    rest(rng, 0, 10)
    d.server.start()


def _hung(d: Deployment, rng: random.Random) -> None:
    d.server.signal(signal.SIGSTOP)
    rest(rng, 1, 10)
    d.server.signal(signal.SIGCONT)


def _slow(d: Deployment, rng: random.Random) -> None:
    d.link.seconds_per_packet = rng.uniform(0.05, 0.3)
    rest(rng, 2, 8)
    d.link.heal()


def _surge(d: Deployment, rng: random.Random) -> None:
    d.load.rate = 1500
    rest(rng, 3, 6)
    d.load.rate = 300


SHORT: dict[str, list[Fault]] = {
    **{role: [_at_a_point(role), _at_a_point(role), _stopped(role)] for role in ROLES},
    **{f"{role}-2": [_joined(role)] for role in ROLES},
    "Kafka": [broker],
    "ClickHouse": [_cut, _down, _hung, _slow],
    "load": [_surge],
}
"""Faults that take seconds, by what they break. Only one fault of each runs at a time."""


@fault("random combination")
def combination(d: Deployment, rng: random.Random) -> None:
    """Three rounds of several random faults together."""
    for _ in range(3):
        broken = [
            (rng.choice(SHORT[what]), random.Random(rng.random()))
            for what in rng.sample(list(SHORT), rng.randint(2, 4))
        ]
        with ThreadPoolExecutor(len(broken)) as threads:
            for done in [threads.submit(_later, some, d, own) for some, own in broken]:
                done.result()


def _later(some: Fault, d: Deployment, rng: random.Random) -> None:
    rest(rng, 0, 3)
    some(d, rng)


@fault("short mix of faults", clickhouse=False)
def short_mix(d: Deployment, rng: random.Random) -> None:
    """Within seconds, each role and ClickHouse are killed once, and a reply is lost. Short enough for every test run."""
    d.link.lose_reply()
    rest(rng, 0.5, 1.5)
    d.kill("recording")
    d.server.kill()
    rest(rng, 0.5, 1.5)
    d.kill_at("screening", "ninezero.streams.kafka.writer:Writer._write_once after 2")
    d.kill_at("lists", "ninezero.streams.kafka.transactions:Transactions._send after 1")
    d.kill("ledgers")
    d.server.start()
    d.kill_at("recording", "ninezero.streams.clickhouse.inserts:insert after 1")
    rest(rng, 1, 2)
