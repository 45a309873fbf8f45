"""A Kafka cluster on loopback for tests: several KRaft nodes, each a broker and a controller, that can be killed one by one."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

from kafka.admin import KafkaAdminClient

from ninezero.streams.local_kafka.broker import Broker
from ninezero.streams.local_kafka.configuration import random_uuid
from ninezero.streams.local_kafka.ports import free_port

NODES = 3
HEAP_MB = 256
"""Largest heap of each node."""


class Node(Broker):
    """One node of a cluster. It differs from a single broker in its numbers, its quorum and its heap."""

    def __init__(self, folder: Path, number: int, port: int, voters: dict[int, int], cluster_id: str) -> None:
        """Args:
        number: its node id.
        port: its port as a broker.
        voters: the controller port of every node, by node id.
        cluster_id: the id that all nodes share.
        """
        more = {
            "node.id": str(number),
            "controller.quorum.voters": ",".join(f"{n}@127.0.0.1:{at}" for n, at in voters.items()),
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{voters[number]}",
            "offsets.topic.replication.factor": str(len(voters)),
            "transaction.state.log.replication.factor": str(len(voters)),
            "transaction.state.log.min.isr": "2",
            "log.cleaner.dedupe.buffer.size": str(8 << 20),
            "min.insync.replicas": "2",
            # A dead follower leaves the in-sync replicas after 3 s instead of 30 s; until then writes wait for it.
            "replica.lag.time.max.ms": "3000",
            "replica.fetch.wait.max.ms": "200",
        }
        super().__init__(folder, port, more=more, heap_mb=HEAP_MB)
        self.number, self._shared_id = number, cluster_id

    def _prepare(self, installed: Path, port: int) -> None:
        super()._prepare(installed, port)
        meta = self.folder / "data" / "meta.properties"
        own = {"node.id": str(self.number), "cluster.id": self._shared_id}
        meta.write_text(
            re.sub(r"(?m)^(node\.id|cluster\.id)=.*$", lambda name: f"{name[1]}={own[name[1]]}", meta.read_text())
        )


class KafkaCluster:
    """Three nodes, with replicated offsets and transactions.

    It has the methods of a single broker that tests use, for all nodes together, and `nodes` for one of them.
    """

    def __init__(self, folder: Path) -> None:
        voters = {number: free_port() for number in range(1, NODES + 1)}
        cluster_id = random_uuid()
        self.nodes = [Node(folder / f"node-{n}", n, free_port(), voters, cluster_id) for n in voters]

    @property
    def bootstrap(self) -> str:
        """Addresses of all nodes."""
        return ",".join(node.bootstrap for node in self.nodes)

    def start(self) -> None:
        """Starts the nodes that do not run. Returns when each answers."""
        with ThreadPoolExecutor(NODES) as threads:
            for started in [threads.submit(node.start) for node in self.nodes]:
                started.result()

    def stop(self) -> None:
        """Kills all nodes. The last two of a cluster cannot stop in order, because a controlled shutdown needs a majority."""
        for node in self.nodes:
            node.kill()

    def controller(self) -> Node:
        """Returns the node that is the active controller now."""
        with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap, bootstrap_timeout_ms=10_000)) as admin:
            [partition] = [p for topic in admin.describe_metadata_quorum()["topics"] for p in topic["partitions"]]
        return next(node for node in self.nodes if node.number == partition["leader_id"])

    def in_sync(self) -> bool:
        """Returns whether every replica of every partition is in sync."""
        with suppress(Exception), closing(KafkaAdminClient(bootstrap_servers=self.bootstrap)) as admin:
            described = admin.describe_topics()
            return all(len(p["isr_nodes"]) == len(p["replica_nodes"]) for t in described for p in t["partitions"])
        return False
