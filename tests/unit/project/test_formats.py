"""Numbered formats: a release reads two numbers, writes the older one until the upgrade is finished, and never changes a number."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from ninezero.schemas import formats
from ninezero.schemas.events import Manifest, Removal, encode
from ninezero.schemas.formats import (
    FORMATS,
    Format,
    FormatsRejected,
    NeedsUpgradeFinish,
    UnknownFormat,
    Version,
    adopt,
    golden,
    stated_format,
)
from ninezero.schemas.formats.format import KindByKey
from ninezero.schemas.policies import PolicyRecord, PolicyUse, parse_key, policy_key, use_key
from ninezero.streams.kafka.worker_identity import WorkerIdentity


class Old(Struct):
    """Number 1 of an invented format."""

    name: str
    text: int


class New(Struct):
    """Number 2 of it: `text` became `number`, and `unit` was added."""

    name: str
    number: int
    unit: str = "m"


def downgrade(new: New) -> Old:
    if new.unit != "m":
        raise NeedsUpgradeFinish("a unit")
    return Old(new.name, new.number)


NEXT = Version(2, New, upgrade=lambda old: New(old.name, old.text), downgrade=downgrade)


def release_1() -> Format:
    return Format("invented", Version(1, Old))


def release_2() -> Format:
    return Format("invented", Version(1, Old), NEXT)


def test_two_releases_read_each_other_until_the_upgrade_is_finished() -> None:
    one, two = release_1(), release_2()
    assert two.decode(one.headers, b"k", one.encode(Old("a", 5))) == New("a", 5)
    assert (two.written, two.headers) == (1, [("format", b"invented/1")])
    assert one.decode(two.headers, b"k", two.encode(New("a", 5))) == Old("a", 5)
    with pytest.raises(NeedsUpgradeFinish):
        two.encode(New("a", 5, "km"))

    adopt([two], {"invented": 2})
    assert two.headers == [("format", b"invented/2")]
    kilometres = two.encode(New("a", 5, "km"))
    assert two.decode(two.headers, b"k", kilometres) == New("a", 5, "km")
    with pytest.raises(UnknownFormat):
        one.decode(two.headers, b"k", kilometres)
    with pytest.raises(FormatsRejected, match="invented/2"):
        adopt([one], {"invented": 2})
    assert one.written == 1


def test_a_release_that_knows_nothing_of_a_stated_format_or_no_longer_reads_it_is_rejected() -> None:
    with pytest.raises(FormatsRejected, match="another/1"):
        adopt([release_1()], {"invented": 1, "another": 1})
    third = Format("invented", Version(2, New), Version(3, New, upgrade=lambda new: new, downgrade=lambda new: new))
    with pytest.raises(FormatsRejected, match="invented/1"):
        adopt([third], {"invented": 1})


@pytest.mark.parametrize(
    "headers", [[], [("format", b"")], [("format", b"invented/3")], [("format", b"decisions/1")], [("other", b"1")]]
)
def test_a_record_of_another_format_or_without_one_is_not_decoded(headers: list[tuple[str, bytes]]) -> None:
    with pytest.raises(UnknownFormat):
        release_2().decode(headers, b"k", encode(Old("a", 5)))


def test_a_stated_format_is_shown_only_if_it_looks_like_one() -> None:
    assert stated_format("decisions", []) == "decisions/0"
    assert stated_format("decisions", [("format", b"decisions/99")]) == "decisions/99"
    assert stated_format("decisions", [("format", b"k1.9f86d081\n")]) == "(not a format)"


@pytest.mark.parametrize(
    "versions",
    [
        (),
        (Version(1, Old), Version(3, New)),
        (Version(1, Old), Version(2, New)),
        (Version(1, Old), NEXT, NEXT._replace(number=3)),
    ],
)
def test_a_table_with_a_gap_or_without_a_way_between_two_numbers_is_wrong(versions: tuple[Version, ...]) -> None:
    with pytest.raises(ValueError):
        Format("invented", *versions)


def test_every_golden_record_is_decoded_and_encoded_byte_for_byte() -> None:
    assert list(golden.faults()) == []
    places = [golden.FOLDER / one.name / str(version.number) for one in FORMATS for version in one.versions]
    assert all(golden.golden_files(place) for place in places)


def test_a_golden_record_for_each_kind_of_record_exists() -> None:
    records = [
        (path.parent.parent.name, json.loads(path.read_text())["decodes_to"]) for path in golden.FOLDER.glob("*/*/*.json") if path.name != golden.TYPE
    ]  # fmt: skip
    found = {(name, value["record"] if isinstance(value, dict) and "record" in value else type(value).__name__) for name, value in records}  # fmt: skip
    assert found == {
        ("decisions", "dict"), ("watchlist", "entry"), ("watchlist", "removal"), ("watchlist", "manifest"), ("watchlist", "heartbeat"),
        ("quarantine-ledger", "list"), ("quarantine-ledger", "str"), ("followup-ledger", "list"), ("followup-ledger", "str"),
        ("transfer-events", "dict"), ("transfer-ledger", "list"), ("transfer-ledger", "str"), ("register", "formats"), ("register", "set-aside"),
        ("list-register", "dict"), ("register", "site"), ("register", "policy"), ("policies", "dict"),
    }  # fmt: skip


def changed_manifest(change: dict[str, Any]) -> Any:
    """Returns the union of watchlist records with a manifest in which some fields have another type, or are added."""
    fields = [
        (one.name, change.get(one.name, one.type), *([] if one.required else [one.default]))
        for one in msgspec.structs.fields(Manifest)
    ]
    added = [(name, kind, None) for name, kind in change.items() if name not in Manifest.__struct_fields__]
    kind = msgspec.defstruct("Manifest", fields + added, tag="manifest", tag_field="record")
    return kind | Removal


def unchanged(value: Any) -> Any:
    return value


@pytest.mark.parametrize("change", [{"floor": int}, {"batch_id": str | None}, {"district": str | None}])
def test_a_change_of_a_type_under_its_number_is_a_fault(change: dict[str, Any], tmp_path: Path) -> None:
    before, after = Format("watchlist", Version(1, changed_manifest({}))), changed_manifest(change)
    place = tmp_path / "watchlist" / "1"
    place.mkdir(parents=True)
    (place / golden.TYPE).write_text(json.dumps(golden.describe(before.current.kind)))
    for name in ("manifest", "removal"):
        shutil.copy(golden.FOLDER / "watchlist" / "1" / f"{name}.json", place)
    assert list(golden.faults([before], tmp_path)) == []
    found = list(golden.faults([Format("watchlist", Version(1, after))], tmp_path))
    assert "the type of watchlist/1 has changed: give it the next number (see schemas/formats/table.py)" in found
    bumped = Format(
        "watchlist", Version(1, before.current.kind), Version(2, after, upgrade=unchanged, downgrade=unchanged)
    )
    assert any("watchlist/2 has no description" in one for one in golden.faults([bumped], tmp_path))


def test_a_file_of_a_release_never_changes(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("type.json", "manifest.json")]
    for path in files:
        shutil.copy(golden.FOLDER / "watchlist" / "1" / path.name, path)
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)
    (tmp_path / "released.txt").write_text(f"# released\n{sums}")
    assert list(golden.faults([], tmp_path)) == []
    files[0].write_text("{}")
    files[1].unlink()
    found = list(golden.faults([], tmp_path))
    assert [line.split()[0] for line in found] == ["type.json", "manifest.json"] and "was changed or removed" in found[
        0
    ]


def test_the_order_of_array_fields_belongs_to_the_type_and_names_of_classes_do_not() -> None:
    def record(name: str, *fields: str) -> Any:
        return msgspec.defstruct(name, [(field, str) for field in fields], array_like=True)

    assert golden.describe(record("A", "slot", "reason")) == golden.describe(record("B", "slot", "reason"))
    assert golden.describe(record("A", "slot", "reason")) != golden.describe(record("A", "reason", "slot"))


def test_a_key_that_is_not_that_of_its_record_is_an_error() -> None:
    ledgers = (formats.QUARANTINE_LEDGER, formats.FOLLOWUP_LEDGER, formats.TRANSFER_LEDGER)
    for form in (*ledgers, formats.TRANSFER_EVENTS, formats.LIST_REGISTER, formats.REGISTER, formats.POLICIES):
        for path in golden.golden_files(golden.FOLDER / form.name / "1"):
            key, value = (json.loads(path.read_text())[name].encode() for name in ("key", "value"))
            assert form.decode(form.headers, key, value) is not None
            for wrong in (b"", b"\xff", key + b"1"):
                with pytest.raises(ValueError):
                    form.decode(form.headers, wrong, value)


def test_the_key_of_a_policy_tells_the_type_of_its_value() -> None:
    policy, use = ((golden.FOLDER / "policies/1" / name).read_text() for name in ("policy.json", "active.json"))
    values = {name: json.loads(text)["value"].encode() for name, text in {"policy": policy, "use": use}.items()}
    headers = formats.POLICIES.headers
    assert isinstance(formats.POLICIES.decode(headers, b"winter|3", values["policy"]), PolicyRecord)
    assert isinstance(formats.POLICIES.decode(headers, b"winter|3|use", values["use"]), PolicyUse)
    for key, value in [
        (b"winter|3", values["use"]), (b"winter|3|use", values["policy"]), (b"winter|4", values["policy"]), (b"spring|3", values["policy"]),
        (b"winter|03", values["policy"]), (b"winter|3|use|", values["use"]), (b"winter|0|use", values["use"]), (b"|3|use", values["use"]),
        (b"winter|2147483648|use", values["use"]), (b"winter|3\n", values["policy"]), (b"winter|3|USE", values["use"]), (b"13800138000|3|use", values["use"]),
        ("\u51ac|3|use".encode(), values["use"]), (b"\xff|3|use", values["use"]), (b"winter|+3|use", values["use"]), (b"winter", values["use"]),
    ]:  # fmt: skip
        with pytest.raises(ValueError):
            formats.POLICIES.decode(headers, key, value)
    for key in (policy_key("a", 1), use_key("A.b-c_d", 2**31 - 1)):
        parsed = parse_key(key)
        assert (use_key if parsed.use else policy_key)(parsed.policy, parsed.version) == key


def test_a_type_that_depends_on_the_key_is_described_with_each_of_its_types() -> None:
    by_key = KindByKey((Old, New), lambda key: New if key == b"new" else Old)
    one = Format("invented", Version(1, by_key))
    assert golden.describe(by_key) == {"by key": [golden.describe(Old), golden.describe(New)]}
    assert one.decode(one.headers, b"new", encode(New("a", 5))) == New("a", 5)
    assert one.decode(one.headers, b"old", encode(Old("a", 5))) == Old("a", 5)


def test_a_client_id_states_the_release_and_the_formats_of_a_worker() -> None:
    ours = WorkerIdentity.of_this_process("host:127.0.0.1:6066")
    assert WorkerIdentity.parse(ours.client_id("17f")) == ours and "decisions/1" in ours.formats
    assert WorkerIdentity.parse("host:127.0.0.1:6066/17f") == WorkerIdentity("host:127.0.0.1:6066", "", ())
