"""The same files with the same options are the same batch: its receipt is found, and an interrupted push is continued."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from ninezero.schemas.events import PushBatch, PushLine, PushReceipt, PushTokens
from ninezero.streams.edge.listfiles.sent_batches import (
    BatchContent,
    SentBefore,
    category_of,
    next_sequence,
    sent_before,
)

NOW = datetime(2026, 12, 1, tzinfo=UTC)
HEAD = PushBatch(
    batch_id="x", authority="cdc", pushed_by="wang", list="contacts", category="close_contact", mode="delta", sequence=1,
    issued_at=NOW, purpose="epidemic_control", declared_lines=1, lines=[], legal_basis="A-3",
)  # fmt: skip
TOKEN = "k1." + "0" * 32


def content(days: int | None = None, now: datetime = NOW, end: datetime | None = None, **changed: Any) -> BatchContent:
    open_end = None if days is None else now + timedelta(days=days)
    found = BatchContent(msgspec.structs.replace(HEAD, **changed), now.date(), days, open_end)
    found.add(PushLine(line=1, tokens=PushTokens(id=[TOKEN]), valid_to=end or open_end))
    return found


def receipt(batch_id: str, sequence: int | None, status: Any = "applied", code: Any = None, **more: Any) -> PushReceipt:
    return PushReceipt(
        batch_id, "cdc", "contacts", "close_contact", "delta", status, code, 1, 1, 0, 0, 0, [], NOW, NOW, sequence=sequence, **more
    )  # fmt: skip


def among(*receipts: PushReceipt, of: BatchContent | None = None) -> SentBefore:
    return sent_before(of or content(), receipts, "cdc", "contacts")


def test_the_name_of_a_batch_states_its_content_and_not_who_sent_it_or_when() -> None:
    first = content()
    assert first.batch_id() == f"contacts-20261201-{first.digest}" and first.batch_id(2) == first.batch_id() + "-2"
    assert content(pushed_by="li", sequence=9, issued_at=NOW + timedelta(hours=5)).digest == first.digest
    end = NOW + timedelta(days=3)
    others = [
        content(mode="full"),
        content(category="quarantine_order"),
        content(legal_basis="A-4"),
        content(end=end),
        content(days=14),
    ]
    assert len({one.digest for one in [first, *others]}) == 6


def test_lines_that_end_some_days_after_the_push_are_the_same_on_the_same_day_only() -> None:
    assert content(days=14).digest == content(days=14, now=NOW + timedelta(hours=9)).digest
    assert content(days=14).digest != content(days=14, now=NOW + timedelta(days=1)).digest != content(days=13).digest
    end = NOW + timedelta(days=3)
    assert content(end=end).digest == content(end=end, now=NOW + timedelta(days=1)).digest, "the file states the end"


def test_a_batch_without_a_receipt_is_continued_under_its_name() -> None:
    name = content().batch_id()
    assert among() == (None, None, name)
    assert among(receipt("other", 5)) == (None, None, name)
    elsewhere = [
        msgspec.structs.replace(receipt(name, 5), list="cases"),
        msgspec.structs.replace(receipt(name, 5), authority="port"),
    ]
    assert among(*elsewhere) == (None, None, name)


def test_a_batch_that_is_in_force_or_waits_for_a_second_person_is_found_again() -> None:
    name = content().batch_id()
    for one in (receipt(name, 5), receipt(name, None, "held"), receipt(f"{name}-3", 5)):
        assert among(one).standing == one
    yesterday = receipt(f"contacts-20261130-{content().digest}", 5)
    assert among(yesterday).standing == yesterday
    held, confirmed = receipt(name, 3, "held"), receipt(name, 7, confirmed=True)
    assert among(receipt("first", 3), held, confirmed).standing == confirmed
    refused = receipt(name, 3, "held", confirmation="same_person")
    assert among(receipt("first", 3), held, refused).standing == held


def test_what_the_same_files_were_yesterday_is_found_if_they_are_another_batch_today() -> None:
    """Without an end of their own, lines end a day later today."""
    today, before = content(days=14), content(days=14, now=NOW - timedelta(days=1))
    assert before.digest == today.digest_of_yesterday != today.digest
    yesterday = receipt(before.batch_id(), 5)
    assert among(yesterday, of=today) == (None, yesterday, today.batch_id())
    assert among(yesterday, receipt("withdrawal", 6), of=today).yesterday is None
    assert among(receipt(before.batch_id(), 5, "rejected"), of=today).yesterday is None
    now = receipt(today.batch_id(), 5)
    assert among(yesterday, now, of=today)[:2] == (now, None)
    end = NOW + timedelta(days=3)
    dated = content(end=end)
    assert dated.digest == dated.digest_of_yesterday
    sent = receipt(f"contacts-20261130-{dated.digest}", 5)
    assert among(sent, of=dated)[:2] == (sent, None), "it is the same batch"


def test_a_batch_is_sent_under_a_new_name_after_another_one_changed_the_list_or_it_was_rejected() -> None:
    name = content().batch_id()
    assert among(receipt(name, 5), receipt("withdrawal", 6)) == (None, None, f"{name}-2")
    assert among(receipt(name, 5), receipt("withdrawal", 6), receipt(name, 5)) == (None, None, f"{name}-2"), (
        "answered again"
    )
    assert among(receipt(name, 3, "held"), receipt("other", 6)) == (None, None, f"{name}-2")
    assert among(receipt(name, 3, "rejected"), receipt(f"{name}-2", 3, "rejected")) == (None, None, f"{name}-3")


def test_the_category_of_a_list_is_that_of_the_batch_that_was_applied_last() -> None:
    def known(*receipts: PushReceipt) -> str | None:
        return category_of(receipts, "cdc", "contacts")

    contacts = receipt("b1", 5)
    cases = msgspec.structs.replace(receipt("b2", 6), category="confirmed_case")
    assert known() is None and known(msgspec.structs.replace(contacts, list="cases")) is None
    assert known(contacts, msgspec.structs.replace(cases, status="held")) == "close_contact"
    assert known(contacts, cases) == "confirmed_case"


def test_the_next_sequence_follows_the_last_applied_one_and_leaves_room_for_held_batches() -> None:
    def following(*receipts: PushReceipt) -> int | None:
        return next_sequence(receipts, "cdc", "contacts")

    first, held = receipt("b1", 5), receipt("b2", 5, "held")
    elsewhere = (
        msgspec.structs.replace(receipt("b9", 90), list="cases"),
        msgspec.structs.replace(first, authority="port"),
    )
    assert following() is None and following(*elsewhere) is None
    assert following(first, *elsewhere) == 6
    assert following(first, held) == 7, "6 is the number of the held batch"
    assert following(first, held, receipt("b3", 7), receipt("b2", 7, "held")) == 9
    assert following(first, held, receipt("b2", 6, confirmed=True), receipt("b2", 6, confirmation="not_held")) == 7
    ahead = receipt("b1", None, "rejected", code="sequence_ahead")
    assert following(ahead) == 1, "the clock of the clerk was wrong, and the list is new"


def test_the_name_of_a_batch_is_an_identifier_whatever_the_list_is_called() -> None:
    long = BatchContent(
        msgspec.structs.replace(HEAD, list="a.1234567890.".join(["", "", "", "", ""])[:64]),
        date(2026, 12, 1),
        None,
        None,
    )
    msgspec.convert(
        msgspec.to_builtins(msgspec.structs.replace(HEAD, batch_id="b")) | {"batch_id": long.batch_id(99)[:64]},
        PushBatch,
    )
