"""The generated references are current and valid, and say what the code does."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from ninezero.agents.reference import contract as reference
from ninezero.schemas.events import Alert, MatchedEntry, Outcomes, Reason, Scan, decoder, encode
from ninezero.streams.kafka import topics

# The AsyncAPI 3.0.0 schema of the AsyncAPI Initiative (Apache-2.0), as npm's @asyncapi/specs has it, without its descriptions.
SCHEMA = json.loads((Path(__file__).parents[2] / "data" / "asyncapi-3.0.0.json").read_text())
REMAKE = "it is out of date: python -m ninezero.agents.reference.contract"
TOKEN = "k1." + "0" * 32


@pytest.fixture(scope="module")
def document() -> Any:
    return json.loads(reference.ASYNCAPI.read_text())


def test_the_files_are_current(document: Any) -> None:
    assert document == json.loads(json.dumps(reference.asyncapi())), REMAKE
    assert reference.SQL.read_text() == reference.sql_reference(), REMAKE


def test_asyncapi_takes_it(document: Any) -> None:
    validator = jsonschema.Draft7Validator(SCHEMA)
    assert [error.message for error in validator.iter_errors(document)] == []
    assert list(validator.iter_errors({**document, "operations": {"x": {"action": "sends"}}})) != []


def test_every_topic_is_in_it_but_the_two_that_are_nobody_elses(document: Any) -> None:
    own = {topics.QUARANTINE_LEDGER, topics.FOLLOWUP_LEDGER}
    assert document["channels"].keys() == {topic.name for topic in topics.ALL if topic not in own}
    text = json.dumps(document)
    for name in document["components"]["messages"]:
        assert f'"#/components/messages/{name}"' in text
    assert r"\\A" not in text and "prefixItems" not in text


def validator(document: Any, name: str) -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator({"$ref": f"#/components/schemas/{name}", "components": document["components"]})


def test_what_the_schema_says_of_a_scan_the_decoder_says_too(document: Any) -> None:
    scan = {
        "device_id": "road-01-a", "seq": 0, "site_id": "road-01", "observed_at": "2026-01-01T08:00:00+08:00", "kind": "vehicle",
        "plate": TOKEN, "people": [{"role": "driver", "tokens": {"id": TOKEN, "pass": TOKEN}, "temperature_c": 36.5}],
    }  # fmt: skip
    changes: list[dict[str, Any]] = [
        {}, {"device_id": "13800138000"}, {"device_id": ""}, {"seq": -1}, {"kind": "train"}, {"people": []}, {"name": "x"}, {"plate": "鲁A12345"},
        {"plate": None}, {"direction": "up"}, {"people": [{"role": "driver", "tokens": {"id": "no"}, "temperature_c": None}]},
        {"people": [{"role": "driver", "tokens": {}, "temperature_c": None, "quality": ["empty"]}]},
    ]  # fmt: skip
    taken = 0
    for change in changes:
        made = scan | change
        try:
            decoder(Scan).decode(json.dumps(made).encode())
            decoded = True
        except msgspec.ValidationError:
            decoded = False
        assert validator(document, "Scan").is_valid(made) == decoded, change
        taken += decoded
    assert taken == 3


def test_what_we_send_is_what_the_schema_promises(document: Any) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    entry = MatchedEntry("id", "close_contact", "cdc", "contacts", "b", "b:1", now)
    for sent in (
        Outcomes("road-01", now, 7, [("road-01-a", 0, "clear", []), ("road-01-a", 1, "hold", [0])]),
        Alert("a", 1, "road-01", "road-01-a", 1, now, now, "hold", False, 7, [Reason(None, "weak_match", [entry])]),
    ):
        assert validator(document, type(sent).__name__).is_valid(json.loads(encode(sent)))
    assert not validator(document, "Outcomes").is_valid({"site_id": "road-01", "outcomes": [["road-01-a", 0]]})
