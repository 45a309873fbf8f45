"""Faults of a Kafka cluster of three brokers: they die and return one after the other, the active controller too."""

from __future__ import annotations

import random
import time

from tests.engines.kafka_cluster import KafkaCluster, Node
from tests.support import wait_for

from .deployment import Deployment
from .faults import fault, rest

PAUSE_SECONDS = 15.0
"""Longest time without an outcome while one broker of three is down: its session, the election of leaders, and the clients' retries."""


def cluster_of(d: Deployment) -> KafkaCluster:
    assert isinstance(d.broker, KafkaCluster)
    return d.broker


def kill_for(d: Deployment, node: Node, low: float, high: float, rng: random.Random) -> None:
    """Kills a broker with SIGKILL, starts it again after some seconds, and waits until its replicas are in sync.

    While it is down, outcomes must continue.
    """
    node.kill()
    answered = len(d.observer.answered_at)
    rest(rng, low, high)
    check_outcomes(d, answered, f"broker {node.number} of three is down")
    start(d, node)


def check_outcomes(d: Deployment, answered: int, meanwhile: str) -> None:
    """Checks that an outcome comes after the number of outcome records that were seen so far."""
    deadline = time.monotonic() + PAUSE_SECONDS
    while len(d.observer.answered_at) <= answered and time.monotonic() < deadline:
        time.sleep(0.1)
    if len(d.observer.answered_at) <= answered:
        d.observer.wrong.append(f"no outcome while {meanwhile}")


def start(d: Deployment, node: Node) -> None:
    """Starts a broker and waits until its replicas are in sync."""
    node.start()
    wait_for(cluster_of(d).in_sync, 30, f"the replicas of broker {node.number}")


@fault("each of three brokers killed", cluster=True)
def each_killed(d: Deployment, rng: random.Random) -> None:
    nodes = cluster_of(d).nodes
    for node in rng.sample(nodes, len(nodes)):
        kill_for(d, node, 4, 7, rng)
        rest(rng, 1, 2)


@fault("active controller killed", cluster=True)
def controller_killed(d: Deployment, rng: random.Random) -> None:
    for _ in range(2):
        first = cluster_of(d).controller()
        kill_for(d, first, 4, 7, rng)
        if cluster_of(d).controller() is first:
            d.observer.wrong.append(f"broker {first.number} was killed and is still the active controller")


@fault("brokers restarted in turn", cluster=True)
def rolled(d: Deployment, rng: random.Random) -> None:
    """Each broker is stopped with SIGTERM and started again, as in an upgrade of Kafka."""
    nodes = cluster_of(d).nodes
    for node in rng.sample(nodes, len(nodes)):
        node.stop()
        rest(rng, 1, 2)
        start(d, node)


@fault("broker killed, workers killed", cluster=True)
def with_workers(d: Deployment, rng: random.Random) -> None:
    """While a broker is down, each worker is killed too and must start with the two brokers that are left."""
    node = rng.choice(cluster_of(d).nodes)
    node.kill()
    for role in ("screening", "recording", "lists", "ledgers"):
        rest(rng, 0.5, 1.5)
        d.kill(role)
    answered = len(d.observer.answered_at)
    rest(rng, 3, 4)
    check_outcomes(d, answered, f"broker {node.number} of three is down and the workers were killed")
    start(d, node)


@fault("two of three brokers killed", cluster=True)
def two_killed(d: Deployment, rng: random.Random) -> None:
    """One replica is left and there is no majority of controllers: nothing may be acknowledged until a second broker returns."""
    first, second = rng.sample(cluster_of(d).nodes, 2)
    first.kill()
    second.kill()
    time.sleep(2)
    before = len(d.load.expected.acknowledged)
    rest(rng, 6, 8)
    if acknowledged := len(d.load.expected.acknowledged) - before:
        d.observer.wrong.append(f"{acknowledged} events were acknowledged by one broker of three")
    cluster_of(d).start()
    wait_for(cluster_of(d).in_sync, 30, "the replicas of both brokers")
