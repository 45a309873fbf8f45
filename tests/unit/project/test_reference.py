"""The generated reference is current, complete and valid."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from prometheus_client.metrics import MetricWrapperBase

from ninezero.agents.logic.policy.rules import RULES
from ninezero.agents.reference import rules, tables
from ninezero.agents.reference.channels import CHANNELS
from ninezero.agents.reference.documents import CHECKOUT, DOCUMENTS
from ninezero.schemas.events import Alert, MatchedEntry, Outcomes, Reason, Scan, decoder, encode
from ninezero.streams import metrics
from ninezero.streams.kafka import topics

# The AsyncAPI 3.0.0 schema of the AsyncAPI Initiative (Apache-2.0), from the npm package @asyncapi/specs, without its descriptions.
SCHEMA = json.loads((Path(__file__).parents[2] / "data" / "asyncapi-3.0.0.json").read_text())
TOKEN = "k1." + "0" * 32


@pytest.fixture(scope="module")
def document() -> Any:
    return json.loads((CHECKOUT / "schemas/asyncapi.json").read_text())


@pytest.mark.parametrize("path", DOCUMENTS)
def test_each_generated_document_is_current(path: str) -> None:
    assert (CHECKOUT / path).read_text() == DOCUMENTS[path](), "out of date: run python -m ninezero.agents.reference"


def test_every_rule_is_explained() -> None:
    page = rules.page()
    assert all(f"| `{rule.name}` | `{rule.outcome}` |" in page for rule in RULES.values())


def test_every_metric_names_the_roles_that_set_it() -> None:
    declared = {value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase)}
    assert metrics.SET_BY.keys() == declared and len(declared) > 15


def test_every_view_and_column_that_is_described_exists() -> None:
    page = DOCUMENTS["docs/reference/tables.md"]()
    assert [view for view in tables.VIEWS if f"## {view}\n" not in page] == []
    assert [column for column in tables.COLUMNS if f"| `{column}` |" not in page] == []


def test_every_topic_has_a_content_and_a_key() -> None:
    assert all(topic.content and topic.key for topic in topics.ALL)


def test_the_asyncapi_document_is_valid(document: Any) -> None:
    validator = jsonschema.Draft7Validator(SCHEMA)
    assert [error.message for error in validator.iter_errors(document)] == []
    assert list(validator.iter_errors({**document, "operations": {"x": {"action": "sends"}}})) != []


def test_the_asyncapi_document_has_every_topic_except_the_ledgers_and_the_registers(document: Any) -> None:
    internal = {
        topics.QUARANTINE_LEDGER,
        topics.FOLLOWUP_LEDGER,
        topics.TRANSFER_LEDGER,
        topics.REGISTER,
        topics.LIST_REGISTER,
    }
    assert CHANNELS.keys() == set(topics.ALL) - internal
    assert document["channels"].keys() == {topic.name for topic in topics.ALL if topic not in internal}
    text = json.dumps(document)
    for name in document["components"]["messages"]:
        assert f'"#/components/messages/{name}"' in text
    assert r"\\A" not in text and "prefixItems" not in text


def validator(document: Any, name: str) -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator({"$ref": f"#/components/schemas/{name}", "components": document["components"]})


def test_the_schema_and_the_decoder_accept_the_same_scans(document: Any) -> None:
    scan = {
        "device_id": "road-01-a", "seq": 0, "site_id": "road-01", "observed_at": "2026-01-01T08:00:00+08:00", "kind": "vehicle",
        "plate": TOKEN, "people": [{"role": "driver", "tokens": {"id": TOKEN, "pass": TOKEN}, "temperature_c": 36.5}],
    }  # fmt: skip
    changes: list[dict[str, Any]] = [
        {}, {"device_id": "13800138000"}, {"device_id": ""}, {"seq": -1}, {"kind": "train"}, {"people": []}, {"name": "x"}, {"plate": "鲁A12345"},
        {"plate": None}, {"direction": "up"}, {"people": [{"role": "driver", "tokens": {"id": "no"}, "temperature_c": None}]},
        {"people": [{"role": "driver", "tokens": {}, "temperature_c": None, "quality": ["empty"]}]},
    ]  # fmt: skip
    accepted = 0
    for change in changes:
        changed = scan | change
        try:
            decoder(Scan).decode(json.dumps(changed).encode())
            decoded = True
        except msgspec.ValidationError:
            decoded = False
        assert validator(document, "Scan").is_valid(changed) == decoded, change
        accepted += decoded
    assert accepted == 3


def test_messages_that_the_pipeline_sends_match_their_schema(document: Any) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    entry = MatchedEntry("id", "close_contact", "cdc", "contacts", "b", "b:1", now)
    for sent in (
        Outcomes("road-01", now, 7, [("road-01-a", 0, "clear", []), ("road-01-a", 1, "hold", [0])]),
        Alert(
            "a",
            "default@1",
            "road-01",
            "road-01-a",
            1,
            now,
            now,
            "hold",
            False,
            7,
            [Reason(None, "weak_match", [entry])],
        ),
    ):
        assert validator(document, type(sent).__name__).is_valid(json.loads(encode(sent)))
    assert not validator(document, "Outcomes").is_valid({"site_id": "road-01", "outcomes": [["road-01-a", 0]]})
