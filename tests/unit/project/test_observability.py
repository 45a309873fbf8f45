"""Alert rules, dashboards and runbook: alerts fire, metrics exist, expressions and queries run."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from ninezero.agents.roles.role_metrics import start_counters_at_zero
from ninezero.streams import clickhouse, metrics
from ninezero.streams.settings import ROLES

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))


def rules(kind: str) -> list[dict[str, Any]]:
    """Alerting (`alert`) or recording (`record`) rules."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"] if kind in rule]


ALERTS = [rule["alert"] for rule in rules("alert")]


def panels() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [
        (panel, target)
        for path in DASHBOARDS
        for panel in json.loads(path.read_text())["panels"]
        for target in panel["targets"]
    ]


def promtool(*arguments: str, cwd: Path = DEPLOY / "prometheus") -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True)


def test_every_alert_fires_on_its_fault_and_stays_silent_without_it() -> None:
    done = promtool("test", "rules", "rules_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    tested: dict[bool, set[str]] = {True: set(), False: set()}
    for test in yaml.safe_load((DEPLOY / "prometheus" / "rules_test.yml").read_text())["tests"]:
        for one in test["alert_rule_test"]:
            tested[bool(one["exp_alerts"])].add(one["alertname"])
    assert tested[True] == tested[False] == set(ALERTS)


def test_prometheus_accepts_the_configuration() -> None:
    done = promtool("check", "config", "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_and_dashboards_use_only_metrics_that_exist() -> None:
    assert metrics.lag
    known = {"up", *(rule["record"] for rule in rules("record"))}
    for family in REGISTRY.collect():
        known |= {family.name, f"{family.name}_total", f"{family.name}_bucket"}
    expressions = [rule["expr"] for kind in ("alert", "record") for rule in rules(kind)]
    expressions += [target["expr"] for _, target in panels() if "expr" in target]
    used = {name for expression in expressions for name in re.findall(r"\bninezero[_:][a-z0-9_:]+", expression)}
    assert len(used) > 15 and used - known == set()


def test_every_counter_that_an_alert_watches_has_its_series_at_the_start_of_a_role() -> None:
    """Prometheus sees no increase in a series that first appears with another value than 0."""
    start_counters_at_zero()
    watched = {
        name for rule in rules("alert") for name in re.findall(r"(?:increase|rate)\((ninezero_\w+)", rule["expr"])
    }
    counters = {name for name in watched if name.endswith("_total")}
    assert len(counters) > 1
    started = {sample.name for family in REGISTRY.collect() for sample in family.samples}
    assert counters - started == set()


def test_every_alert_has_one_runbook_entry_with_three_commands() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text()
    assert re.findall(r"^### (Ninezero\w+)$", text, re.M) == ALERTS
    for rule in rules("alert"):
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("critical", "warning")
    for entry in re.split(r"^### ", text, flags=re.M)[1:]:
        assert len(re.findall(r"^    \S", entry.split("\n## ")[0], re.M)) == 3, f"three commands: {entry.split()[0]}"


def test_prometheus_accepts_every_expression_of_the_dashboards(tmp_path: Path) -> None:
    recorded = [
        {"record": f"panel:{n}", "expr": target["expr"]} for n, (_, target) in enumerate(panels()) if "expr" in target
    ]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    done = promtool("check", "rules", "rules.yml", cwd=tmp_path)
    assert done.returncode == 0 and f"{len(recorded)} rules found" in done.stdout, done.stdout + done.stderr


def test_dashboards_are_complete_and_their_data_sources_are_provisioned() -> None:
    provisioned = yaml.safe_load((DEPLOY / "grafana" / "provisioning" / "datasources" / "ninezero.yml").read_text())
    sources = {source["uid"]: source["type"] for source in provisioned["datasources"]}
    names = set()
    for path in DASHBOARDS:
        board = json.loads(path.read_text())
        assert {"uid", "title", "schemaVersion", "panels", "time", "refresh"} <= board.keys() and not board["editable"]
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        names.add(board["uid"])
        occupied: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert at["x"] + at["w"] <= 24 and not cells & occupied, panel["title"]
            occupied |= cells
            assert panel["type"] in ("timeseries", "stat", "table", "barchart")
            for target in panel["targets"]:
                assert (
                    sources[target["datasource"]["uid"]] == target["datasource"]["type"] == panel["datasource"]["type"]
                )
                assert ("expr" in target) == (target["datasource"]["type"] == "prometheus")
    assert len(names) == len(DASHBOARDS) == 2


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    connection = clickhouse.connect(f"chdb://{tmp_path_factory.mktemp('dashboards')}")
    clickhouse.migrate(connection)
    yield connection
    connection.close()


def test_the_queries_of_the_dashboards_run_and_read_only_the_views(engine: Any) -> None:
    queries = [(panel["title"], target["rawSql"]) for panel, target in panels() if "rawSql" in target]
    assert len(queries) > 10
    for title, sql in queries:
        assert set(re.findall(r"(?:FROM|JOIN) ([\w.]+)", sql)) <= {
            f"ninezero.{row['name']}" for row in engine.query("SHOW TABLES FROM ninezero")
        }, title
        # Expand the macros as the Grafana plugin does.
        sql = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 >= toDateTime(0) AND \1 <= now()", sql)
        sql = re.sub(r"\$__dateFilter\((\w+)\)", r"\1 >= toDate('2020-01-01') AND \1 <= today()", sql)
        assert "$" not in sql
        engine.query(sql)


def test_the_queries_of_the_runbook_run(engine: Any) -> None:
    text = (ROOT / "docs" / "runbook.md").read_text()
    queries = re.findall(r'ninezero query "(.+)"', text)
    assert len(queries) > 10
    for sql in queries:
        engine.query(sql)


def test_the_deployments_that_the_runbook_names_exist() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text()
    named = set(re.findall(r"deploy/(ninezero-[\w-]+)", text)) - {"ninezero-ROLE"}
    manifests = yaml.safe_load_all((DEPLOY / "kubernetes" / "workers.yaml").read_text())
    assert (
        named <= {manifest["metadata"]["name"] for manifest in manifests if manifest["kind"] == "Deployment"}
        and len(named) > 2
    )
    assert set(re.findall(r"^\| .*compose\.yaml exec (\w+)", text, re.M)) <= ROLES.keys()


def test_no_query_of_the_runbook_compares_a_local_day_with_the_servers_day() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text()
    assert "day = today()" not in text  # before 8 in the morning in China the UTC day is still the day before
