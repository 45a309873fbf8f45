"""The oracle's lists and batches (§5) against cases computed by hand from the contract."""

from __future__ import annotations

from typing import Any

import pytest

from . import oracle
from .examples import (
    AT,
    ID,
    NOW,
    NOW_MS,
    PASSPORT,
    PHONE,
    batch,
    entry_line,
    listed,
    receipt_of,
    record,
    rules,
    scan,
    tok,
)
from .oracle import PUSHES, Lists


def counts(lists: Lists, batch_id: str) -> tuple[int, int, int]:
    receipt = receipt_of(lists, batch_id)
    return receipt["accepted"], receipt["duplicate"], receipt["rejected"]


def test_the_same_line_again_is_a_duplicate_and_keeps_its_entry() -> None:
    lists = listed(batch(entry_line()), batch(entry_line(7), batch_id="b2", sequence=2))
    assert counts(lists, "b2") == (0, 1, 0)
    assert [e.entry_id for e in lists.all()] == ["b1:1"]


def test_another_window_or_more_tokens_replace_all_entries_that_match() -> None:
    both = {"id": [ID], "passport": [PASSPORT]}
    lists = listed(
        batch(entry_line(1), entry_line(2, tokens={"passport": [PASSPORT]})),
        batch(entry_line(3, tokens=both), batch_id="b2", sequence=2),
    )
    assert counts(lists, "b2") == (1, 0, 0)
    [entry] = lists.all()
    assert (entry.entry_id, entry.batch_id, entry.ids) == ("b1:1", "b2", {"b1:1", "b1:2"})


def test_a_phone_matches_only_where_neither_side_has_a_document() -> None:
    phone = entry_line(1, tokens={"phone": [PHONE]})
    lists = listed(batch(phone, entry_line(2, tokens={"id": [ID], "phone": [PHONE]}), phone | {"line": 3}))
    assert counts(lists, "b1") == (2, 1, 0)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ({"tokens": {}}, "no_token"),
        ({"tokens": {"id": []}}, "no_token"),
        ({"tokens": {"id": [ID, "x"]}, "valid_to": None}, "bad_token"),
        ({"valid_to": None}, "no_window"),
        ({"valid_from": "2026-11-30T00:00:00Z"}, "bad_window"),
        ({"valid_to": AT}, "expired"),
        ({"valid_to": "2026-12-21T00:00:00Z"}, None),
        ({"valid_to": "2026-12-21T00:00:01Z"}, "term_too_long"),
        ({"valid_from": None, "valid_to": "2026-12-22T00:00:00Z"}, None),
        ({"valid_from": None, "valid_to": "2026-12-22T00:00:01Z"}, "term_too_long"),
    ],
)
def test_a_line_gets_the_first_code_that_applies(line: dict[str, Any], code: str | None) -> None:
    whole = {k: v for k, v in (entry_line() | line).items() if v is not None}
    assert oracle.line_code(whole, "confirmed_case", NOW) == code
    if code == "term_too_long":
        assert oracle.line_code(whole, "health_pass", NOW) is None


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"legal_basis": None}, "no_legal_basis"),
        ({"legal_basis": ""}, "no_legal_basis"),
        ({"category": "x"}, "unknown_category"),
        ({"sequence": 1}, "stale_sequence"),
        ({"sequence": NOW_MS + 86_400_001}, "sequence_ahead"),
    ],
)
def test_a_rejected_batch_changes_nothing_and_counts_nothing(fields: dict[str, Any], code: str) -> None:
    lists = listed(batch(entry_line()), batch(entry_line(2), **({"batch_id": "b2", "sequence": 2} | fields)))
    receipt = receipt_of(lists, "b2")
    assert (receipt["status"], receipt["code"], counts(lists, "b2")) == ("rejected", code, (0, 0, 0))
    assert [e.entry_id for e in lists.all()] == ["b1:1"]


def test_parts_have_one_receipt_and_a_repeated_batch_the_same() -> None:
    one = batch(entry_line(1), part=1, parts=2, declared_lines=2)
    two = batch(entry_line(2, tokens={"id": [tok("f")]}), part=2, parts=2, declared_lines=2)
    expected = oracle.expect([record(value, PUSHES, n) for n, value in enumerate((one, two, two))])
    assert len(expected.receipts) == 2
    assert expected.receipts[0] == expected.receipts[1]
    assert expected.receipts[0]["accepted"] == 2


OTHER = {"id": [tok("f")]}


def lines(count: int, days: int = 6) -> list[dict[str, Any]]:
    end = {"valid_to": f"2026-11-{24 + days}T00:00:00Z"}
    return [entry_line(n, tokens={"id": [f"k1.{n:032x}"]}, **end) for n in range(1, count + 1)]


def test_parts_come_in_any_order_and_twice_and_apply_in_their_order() -> None:
    one = batch(entry_line(1), part=1, parts=2, declared_lines=2)
    two = one | {"part": 2, "lines": [entry_line(2, valid_to="2026-11-29T00:00:00Z")]}
    lists = listed(two, two, one)
    assert counts(lists, "b1") == (1, 1, 0)
    [entry] = lists.all()
    assert entry.entry_id == "b1:1" and entry.valid_to == oracle.instant("2026-11-30T00:00:00Z")
    assert not listed(two, two).all()


def test_two_authorities_may_use_the_same_batch_id() -> None:
    lists = listed(batch(entry_line()), batch(entry_line(), authority="port"))
    assert [e.authority for e in lists.all()] == ["cdc", "port"]


def test_a_full_keeps_the_entries_that_it_names_and_removes_the_others() -> None:
    kept, changed = lines(3)[0], lines(3, days=5)[1] | {"line": 7}
    lists = listed(batch(*lines(3)), batch(kept, changed, batch_id="b2", mode="full", sequence=2))
    assert counts(lists, "b2") == (1, 1, 0)
    assert receipt_of(lists, "b2")["withdrawn"] == 1
    assert sorted(e.entry_id for e in lists.all()) == ["b1:1", "b1:2"]


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        (10, lines(5), None),
        (10, lines(4), "would_shrink"),
        (9, lines(1), None),
        (1, [], "would_empty"),
        (12, [entry_line(1, tokens={})], "would_empty"),
        (0, [], None),
    ],
)
def test_a_full_that_removes_too_many_entries_is_held(
    before: int, after: list[dict[str, Any]], code: str | None
) -> None:
    lists = listed(batch(*lines(before)), batch(*after, batch_id="b2", mode="full", sequence=2))
    assert receipt_of(lists, "b2")["code"] == code
    assert len(lists.all()) == (before if code else len(after))


def test_a_withdrawal_removes_complete_entries_and_is_never_held() -> None:
    gone = batch({"line": 1, "tokens": {"id": [ID]}}, {"line": 2, "tokens": {"id": [ID]}}, batch_id="b2", sequence=2)
    both = entry_line(tokens={"id": [ID], "phone": [PHONE]})
    lists = listed(batch(both), gone | {"mode": "withdraw", "declared_lines": 9, "withdraw_reason": "mistake"})
    receipt = receipt_of(lists, "b2")
    assert (receipt["status"], receipt["withdrawn"], receipt["rejects"]) == (
        "applied",
        1,
        [{"line": 2, "code": "not_listed"}],
    )
    assert [e.entry_id for e in lists.mistakes] == ["b1:1"] and not lists.all()


def test_only_a_second_person_confirms_and_only_until_a_higher_sequence_was_applied() -> None:
    held = batch(entry_line(), declared_lines=2, batch_id="held", sequence=2)
    word = {"confirms": "held", "authority": "cdc", "confirmed_by": "chen", "at": AT}
    later = batch(entry_line(2, tokens=OTHER), batch_id="later", sequence=3)
    lists = listed(held, word | {"confirmed_by": "li"})
    assert receipt_of(lists, "held")["code"] == "count_mismatch" and not lists.all()
    lists = listed(held, word)
    assert receipt_of(lists, "held") == receipt_of(lists, "held") | {"status": "applied", "confirmed": True}
    assert [row[:2] for row in lists.audit] == [("li", "push"), ("chen", "confirm")]
    assert [e.batch_id for e in listed(held, later, word).all()] == ["later"]
    assert "not_held" in lists.confirm(record(b"", PUSHES), word)["confirmation"]


def test_lines_of_one_person_are_joined_and_a_gap_is_not_bridged() -> None:
    early = entry_line(1, valid_to="2026-11-25T00:00:00Z")
    late = entry_line(2, valid_from="2026-11-26T00:00:00Z")
    lists = listed(batch(early, late))
    assert counts(lists, "b1") == (1, 0, 1) and receipt_of(lists, "b1")["rejects"] == [
        {"line": 2, "code": "bad_window"}
    ]
    between = entry_line(3, valid_from="2026-11-24T12:00:00Z", valid_to="2026-11-26T00:00:00Z")
    lists = listed(batch(early, late, between))
    [entry] = lists.all()
    assert counts(lists, "b1") == (1, 2, 0)
    assert (entry.valid_from, entry.valid_to) == (
        oracle.instant("2026-11-23T00:00:00Z"),
        oracle.instant("2026-11-30T00:00:00Z"),
    )


def test_a_renewal_without_a_start_still_matches_what_was_observed_before_it() -> None:
    free = {"valid_from": None}
    lists = listed(
        batch(entry_line(**free)), batch(entry_line(valid_to="2026-12-01T00:00:00Z", **free), batch_id="b2", sequence=2)
    )
    assert rules(scan(observed_at="2026-11-23T00:00:00Z"), lists) == [(0, "confirmed_case")]


def test_a_batch_under_keys_of_no_other_list_is_held() -> None:
    strange = entry_line(tokens={"id": ["k9" + ID[ID.index(".") :]]})
    lists = listed(
        batch(entry_line()), batch(strange, list="l2", batch_id="b2"), batch(strange, batch_id="b3", sequence=3)
    )
    assert (receipt_of(lists, "b2")["code"], receipt_of(lists, "b3")["code"]) == ("unknown_key_ids", None)


def test_a_batch_whose_last_part_comes_after_a_day_is_incomplete() -> None:
    one = batch(entry_line(1), part=1, parts=2, declared_lines=2)
    two = one | {"part": 2, "lines": [entry_line(2, tokens=OTHER)]}
    for ms, code in ((86_400_000, None), (86_400_001, "incomplete")):
        sent = [record(one, PUSHES), record(two, PUSHES, 1, NOW_MS + ms)]
        assert receipt_of(oracle.expect(sent).lists, "b1")["code"] == code


def test_an_expired_entry_is_not_on_the_list() -> None:
    brief = batch(entry_line(valid_to="2026-11-24T00:01:00Z"))
    again = batch({"line": 1, "tokens": {"id": [ID]}}, batch_id="b2", sequence=2, mode="withdraw")
    sent = [record(brief, PUSHES), record(again, PUSHES, 1, NOW_MS + 60_000)]
    assert receipt_of(oracle.expect(sent).lists, "b2")["rejects"] == [{"line": 1, "code": "not_listed"}]
