"""Topics on a cluster of three brokers: a write waits for two replicas, and doctor warns of a topic with only one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from ninezero.streams.kafka import topics
from tests.engines.kafka_cluster import KafkaCluster
from tests.support import System


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    nodes = KafkaCluster(tmp_path_factory.mktemp("cluster"))
    nodes.start()
    yield nodes
    nodes.stop()


def created(cluster: KafkaCluster, folder: Path, replication: int) -> System:
    """Returns a deployment with topics of so many replicas."""
    system = System(cluster.bootstrap, f"chdb://{folder}/chdb", folder)
    done = system.run("topics", "create", "--partitions", "2", "--replication", str(replication))
    assert done.returncode == 0, done.stderr
    return system


def test_with_three_replicas_a_write_waits_for_two_of_them(cluster: KafkaCluster, tmp_path: Path) -> None:
    system = created(cluster, tmp_path, 3)
    names = [f"{system.prefix}{topic.name}" for topic in topics.ALL]
    with contextlib.closing(KafkaAdminClient(bootstrap_servers=cluster.bootstrap)) as admin:
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        configs = admin.describe_configs(resources, config_filter="all")["topic"]
        replicas = {len(p["replica_nodes"]) for topic in admin.describe_topics(names) for p in topic["partitions"]}
    assert {configs[name]["min.insync.replicas"]["value"] for name in names} == {"2"} and replicas == {3}
    done = system.run("doctor", "topics")
    assert done.returncode == 0 and b"as they should be" in done.stdout, done.stdout


def test_doctor_warns_of_topics_with_one_replica_on_three_brokers(cluster: KafkaCluster, tmp_path: Path) -> None:
    output = created(cluster, tmp_path, 1).run("doctor", "topics").stdout.decode()
    assert output.count("only one replica on 3 brokers") == len(topics.ALL), output
    assert "ninezero topics create --replication 3" in output
