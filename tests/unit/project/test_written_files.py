"""Every file that people write: each mistake is answered in one line with its place, what is wrong and what to do, and no value."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from ninezero.agents.cli.console import CommandError
from ninezero.agents.cli.edge.scan_sending import read_events
from ninezero.agents.cli.operations.register import read_sites
from ninezero.agents.demo import scenario_file
from ninezero.schemas.events import Scan
from ninezero.schemas.faults import describe
from ninezero.schemas.policies import PolicyRecord
from ninezero.streams.edge.device.passage_fields import fields
from ninezero.streams.edge.device.travellers import Passage, Traveller
from ninezero.streams.edge.documents.key_ring import KeyRing
from ninezero.streams.edge.listfiles.column_mapping import ColumnMapping
from ninezero.streams.errors import UserError

SECRET = "11010519491231002X"
PERSON = {"role": "driver"}
SCENARIO = (Path(scenario_file.__file__).parent / "scenarios" / "lakeside.toml").read_text()
HEADER = "site_id,kind,division,capacity\n"
EVENT = {"device_id": "a", "seq": 0, "site_id": "s", "observed_at": "2026-01-01T00:00:00Z", "kind": "pedestrian",
         "people": [{"role": "pedestrian", "tokens": {}, "temperature_c": None}]}  # fmt: skip


def passage(**change: object) -> str:
    return json.dumps({"kind": "vehicle", "people": [PERSON]} | change)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (passage(people=[PERSON, PERSON | {"temperature_c": SECRET}]), "people[1].temperature_c: expected a number or null, not text"),
        (passage(people=[{"role": SECRET}]), "people[0].role: expected driver or passenger or pedestrian or traveller"),
        (passage(people=[{"id": SECRET}]), "people[0].role: missing"),
        (passage(people=[PERSON | {SECRET: 1}]), "people[0]: unknown field; the fields are role, id, passport,"),
        (passage(people=[PERSON | {"temperatur": 36.5}]), "people[0]: unknown field; did you mean temperature_c?"),
        (passage(people=[PERSON | {"mrz": ["A", 3]}]), "people[0].mrz[1]: expected text, not a whole number"),
        (passage(people=[PERSON | {"pass": 3}]), "people[0].pass: expected text or null, not a whole number"),
        (passage(people=SECRET), "people: expected a list, not text"),
        (passage(direction=None), "direction: expected in or out"),
        (passage(**{f"{SECRET}` - at `$.kind": 1}), "unknown field"),
        ('{"people": []}', "kind: missing"),
        ("[]", "expected an object, not a list"),
        ('{"kind": "vehicle"', "it is not JSON: it ends too early"),
        (f"X{SECRET}", "it is not JSON at byte"),
        (f'{{"kind": x{SECRET}', "it is not JSON at byte"),
    ],
)  # fmt: skip
def test_a_wrong_passage_is_described_by_its_field(line: str, fault: str) -> None:
    with pytest.raises(msgspec.MsgspecError) as error:
        msgspec.json.decode(line, type=Passage)
    found = describe(Passage, error.value)
    assert fault in found and SECRET not in found and "\n" not in found


def test_every_field_of_a_passage_is_in_the_table_with_its_meaning() -> None:
    table = list(fields())
    names = [one.place for one in table]
    assert names[:4] == ["kind", "people", "plate", "direction"] and "people[].pass" in names
    assert len(names) == len(Passage.__struct_fields__) + len(Traveller.__struct_fields__)
    assert all(one.form and len(one.meaning) > 8 for one in table)
    assert [one.place for one in table if one.required] == ["kind", "people", "people[].role"]


POLICY = {"policy": "winter", "version": 3, "author": "anna", "legal_basis": "JN-17", "fever_c": 37, "plausible_c": [30, 45], "max_list_age_s": 300,
          "outcomes": {"fever": "hold"}, "home": "site", "exempt_origins": ["37", "3701", "370115", "HK"]}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"legal_basis": "JN 17"}, "legal_basis: expected an identifier"),
        ({"policy": "win|ter"}, "policy: expected an identifier"),
        ({"version": 0}, "version: expected a whole number from 1 to 2,147,483,647"),
        ({"version": 2**31}, "version: expected a whole number from 1 to 2,147,483,647"),
        ({"fever_c": None}, "fever_c: expected a number, not null"),
        ({"fever_c": "37.3"}, "fever_c: expected a number, not text"),
        ({"fever_c": 10**400}, "fever_c: expected a number"),
        ({"plausible_c": [30]}, "plausible_c: expected a list of 2 entries"),
        ({"plausible_c": [30, 40, 45]}, "plausible_c: expected a list of 2 entries"),
        ({"plausible_c": [30, SECRET]}, "plausible_c[1]: expected a number, not text"),
        ({"outcomes": {SECRET: "hold"}}, "outcomes, a name in it: expected a name of small letters and '_'"),
        ({"outcomes": {"fever": SECRET}}, "outcomes[…]: expected a name of small letters and '_'"),
        ({"outcomes": {"fever": None}}, "outcomes[…]: expected a name of small letters and '_', not null"),
        ({"outcomes": []}, "outcomes: expected an object, not a list"),
        ({"home": "Site"}, "home: expected site or a division code of six digits"),
        ({"home": "3701"}, "home: expected site or a division code of six digits"),
        ({"exempt_origins": ["11", "370"]}, "exempt_origins[1]: expected the first 2, 4 or all 6 digits of a division code, or a country"),
        ({"exempt_origins": ["hk"]}, "exempt_origins[0]: expected the first 2, 4 or all 6 digits of a division code, or a country code of"),
        ({"exempt_origins": None}, "exempt_origins: expected a list, at most 4,096 entries, not null"),
        ({"fever": 37.3}, "unknown field; did you mean fever_c?"),
        ({f"{SECRET}` - at `key` in `$.outcomes": 1}, "outcomes: unknown field"),
    ],
)  # fmt: skip
def test_a_wrong_policy_is_described_by_its_field(change: dict[str, object], fault: str) -> None:
    with pytest.raises(msgspec.MsgspecError) as error:
        msgspec.json.decode(json.dumps(POLICY | change), type=PolicyRecord)
    found = describe(PolicyRecord, error.value)
    assert found.startswith(fault) and SECRET not in found and "\n" not in found


def test_every_field_of_a_policy_is_required_and_the_last_of_two_equal_names_counts() -> None:
    assert msgspec.json.decode(json.dumps(POLICY), type=PolicyRecord).fever_c == 37.0
    for field in POLICY:
        with pytest.raises(msgspec.ValidationError) as error:
            msgspec.json.decode(
                json.dumps({name: value for name, value in POLICY.items() if name != field}), type=PolicyRecord
            )
        assert describe(PolicyRecord, error.value) == f"{field}: missing"
    twice = json.dumps(POLICY).replace('{"fever": "hold"}', '{"fever": "hold", "fever": "refer"}')
    assert msgspec.json.decode(twice, type=PolicyRecord).outcomes == {"fever": "refer"}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"seq": -1}, "schema_invalid: seq: expected a whole number from 0"),
        ({"site_id": SECRET * 9}, "schema_invalid: site_id: expected an identifier"),
        ({"people": []}, "schema_invalid: people: expected a list of 1 to 80 entries"),
        ({"name": SECRET}, "schema_invalid: unknown field; the fields are device_id"),
        ({"observed_at": "2026-01-01T00:00:00+0800"}, "schema_invalid: observed_at is not as docs/reference/events.md"),
        ({"plate": SECRET}, "schema_invalid: plate: expected a token"),
    ],
)
def test_a_wrong_scan_event_is_described_by_its_field(change: dict[str, object], fault: str) -> None:
    read_events([json.dumps(EVENT).encode()])
    with pytest.raises(CommandError) as error:
        read_events([b"", json.dumps(EVENT | change).encode()])
    assert str(error.value).startswith(f"line 2: {fault}") and SECRET not in str(error.value)
    assert msgspec.json.decode(json.dumps(EVENT), type=Scan).observed_at == datetime(2026, 1, 1, tzinfo=UTC)


FILES: list[tuple[Callable[[Path], object], str, str]] = [
    (read_sites, "", "line 1: the first line must be site_id,kind,division,capacity"),
    (read_sites, "site,kind,division,capacity\n", "line 1: the first line must be"),
    (read_sites, f"{HEADER}s,village,370115,0\n\ns,village,{SECRET},0\n", "line 4: division: expected a division code of 6, 9 or 12 digits, or nothing"),
    (read_sites, f"{HEADER}s,village,,0\n\nr,village,,0\ns,village,,0\n", "line 5: the site of line 2 is here again"),
    (read_sites, f"{HEADER}13800138000,village,370115,0\n", "line 2: site_id: expected an identifier"),
    (read_sites, f"{HEADER}s,two words,370115,0\n", "line 2: kind: expected an identifier"),
    (read_sites, f"{HEADER}s,village,370115,{SECRET}\n", "line 2: capacity: expected a whole number from 0"),
    (read_sites, f"{HEADER}s,village,370115,-1\n", "line 2: capacity: expected a whole number from 0"),
    (read_sites, f"{HEADER}s,village,370115,0,{SECRET}\n", "line 2: 5 cells instead of 4"),
    (read_sites, f"{HEADER}{SECRET}\n", "line 2: 1 cells instead of 4"),
    (read_sites, f'{HEADER}"s"x,village,370115,0\n', "line 2: the quotes of a cell do not match"),
    (ColumnMapping.load, '{"idd": "C"}', "unknown field; did you mean id?"),
    (ColumnMapping.load, f'{{"{SECRET}": "C"}}', "unknown field; the fields are id, passport"),
    (ColumnMapping.load, f'{{"id": ["{SECRET}"]}}', "id: expected text or a whole number or null, not a list"),
    (ColumnMapping.load, '{"first_row": 0}', "first_row: expected a whole number, 1 or more or null"),
    (ColumnMapping.load, '{"id": "C",}', "it is not JSON at byte"),
    (KeyRing.load, f'{{"active": "{SECRET}"}}', "keys: missing"),
    (KeyRing.load, f'{{"active": "k", "keys": {{"{SECRET}": {{"hex": 1}}}}}}', "keys[…].hex: expected text"),
    (KeyRing.load, f'{{"active": "k", "keys": {{"k": {{"hex": "{SECRET}", "not_after": "x"}}}}}}', "keys[…].not_after: expected a time"),
    (KeyRing.load, f'{{"active": "k", "keys": {{}}, "{SECRET}": 1}}', "unknown field; the fields are active, keys"),
    (KeyRing.load, "active", "it is not JSON at byte 1"),
    (scenario_file.load, SCENARIO.replace("days = 21", "days = 3"), "days: expected a whole number from 16 to 400"),
    (scenario_file.load, SCENARIO.replace("days = 21", f'days = "{SECRET}"'), "days: expected a whole number from 16 to 400, not text"),
    (scenario_file.load, SCENARIO.replace("[published]", "[published]\nturned_bakc = 1"), "published: unknown field; did you mean turned_back?"),
    (scenario_file.load, SCENARIO.replace("[published]", f"[{SECRET}"), "it is not TOML at line"),
    (scenario_file.load, f'name = "{SECRET}', "it is not TOML at"),
    (scenario_file.load, "days =", "it is not TOML at"),
    (scenario_file.load, "", "missing"),
]  # fmt: skip
"""A reader, the text of a file, and what is wrong with it."""


@pytest.mark.parametrize(("load", "text", "fault"), FILES, ids=[f"{n}" for n in range(len(FILES))])
def test_a_wrong_file_is_described_by_its_place(
    load: Callable[[Path], object], text: str, fault: str, tmp_path: Path
) -> None:
    file = tmp_path / "written"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(UserError) as error:
        load(file)
    message = str(error.value)
    assert fault in message, message
    assert SECRET not in message and "13800138000" not in message and "\n" not in message
    remedies = ("correct it", "restore it from its copy", "save it again", "see the examples")
    assert any(remedy in message for remedy in remedies), message
    assert error.value.__context__ is None or error.value.__suppress_context__
