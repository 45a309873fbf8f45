"""A case event becomes the same fact on the wire, in the ledger record and in the ClickHouse row."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ninezero.agents.cases.acceptance import AcceptedEvent
from ninezero.agents.cases.kinds import quarantine_kind
from ninezero.agents.logic.cases.facts import encode_facts
from ninezero.agents.recording.projections.events import ReceivedEvent, followup_fact_row, quarantine_fact_row
from ninezero.agents.recording.projections.events import quarantine_event as quarantine_event_rows
from ninezero.schemas.case_facts import FollowupFact, QuarantineFact, followup_fact, quarantine_fact
from ninezero.schemas.events import FollowupEvent, QuarantineEvent, encode
from ninezero.schemas.ledger_records import FollowupLedgerRecord, QuarantineLedgerRecord
from ninezero.schemas.policies import PolicyRecord, PolicyUse, policy_key, use_key
from ninezero.schemas.rows import FIRST_WINS
from ninezero.streams.kafka.decoding import Rejected, decode
from tests.case_events import followup_event, quarantine_event
from tests.support import default_policies

ARRIVED_MS = 1_580_779_801_500
DAY = date(2020, 2, 4)

# Each event with the bytes that the ledger topic holds for it. Records stay in the topic across upgrades.
QUARANTINE = [
    (
        quarantine_event(
            "transferred", "04 09:30", slot="am", temperature_c=37.3, symptoms=True, to_site_id="q2", reason="hospital"
        ),
        b'["c.00000000000000000000000000000001",1580779800000000,"2020-02-04","d",0,"q1","transferred","am","q2",1,1,"hospital",0,7215313220708]',
    ),
    (
        quarantine_event("admitted", "04 09:30", term_days=14),
        b'["c.00000000000000000000000000000001",1580779800000000,"2020-02-04","d",0,"q1","admitted","","",0,0,"",14,7215313220708]',
    ),
]
FOLLOW_UP = [
    (
        followup_event("visit", "04 09:30", source="push", batch_id="b1", visit="seen_well", closed="lost"),
        b'["c.00000000000000000000000000000001",1580779800000000,"2020-02-04","d",0,"jiyang","visit","push","b1","seen_well","lost",0,7215313220708]',
    ),
    (
        followup_event("opened", "04 09:30"),
        b'["c.00000000000000000000000000000001",1580779800000000,"2020-02-04","d",0,"jiyang","opened","","","","",10,7215313220708]',
    ),
]


def fact_of(event: dict[str, Any]) -> Any:
    version = FIRST_WINS - ARRIVED_MS
    if "site_id" in event:
        return quarantine_fact(msgspec.convert(event, QuarantineEvent), version, fever_c=37.3, term_days=10)
    return followup_fact(msgspec.convert(event, FollowupEvent), version, term_days=10)


def record_type(fact: Any) -> Any:
    return QuarantineLedgerRecord if isinstance(fact, QuarantineFact) else FollowupLedgerRecord


@pytest.mark.parametrize(("event", "stored"), QUARANTINE + FOLLOW_UP)
def test_a_ledger_record_is_read_and_written_byte_for_byte_as_before(event: dict[str, Any], stored: bytes) -> None:
    fact = fact_of(event)
    assert encode(record_type(fact).of(fact, DAY)) == stored
    record = decode(record_type(fact), stored)
    assert record.fact() == fact
    assert encode(record) == stored


@pytest.mark.parametrize("stored", [QUARANTINE[0][1], FOLLOW_UP[0][1]])
def test_a_ledger_record_with_a_field_more_or_less_is_rejected(stored: bytes) -> None:
    kind = QuarantineLedgerRecord if stored is QUARANTINE[0][1] else FollowupLedgerRecord
    fields = json.loads(stored)
    for changed in (fields[:-1], [*fields, 1]):
        with pytest.raises(Rejected):
            decode(kind, json.dumps(changed).encode())


texts = st.text(max_size=8)
times = st.integers(0, 2**52)
versions = st.integers(0, 2**64 - 1)


@given(
    fact=st.builds(
        QuarantineFact, case_id=texts, observed_us=times, device_id=texts, seq=times, site_id=texts, type=texts,
        slot=texts, to_site_id=texts, fever=st.booleans(), symptoms=st.booleans(), reason=texts, term_days=st.integers(0, 60),
        version=versions,
    )
    | st.builds(
        FollowupFact, case_id=texts, observed_us=times, device_id=texts, seq=times, district=texts, type=texts,
        source=texts, batch_id=texts, visit=texts, closed=texts, term_days=st.integers(0, 60), version=versions,
    ),
    day=st.dates(),
)  # fmt: skip
def test_fact_record_and_row_hold_the_same_values(fact: Any, day: date) -> None:
    stored = encode(record_type(fact).of(fact, day))
    assert decode(record_type(fact), stored).fact() == fact
    row = quarantine_fact_row(fact) if isinstance(fact, QuarantineFact) else followup_fact_row(fact)
    assert type(fact)(**row._asdict()) == fact
    assert msgspec.json.decode(encode_facts([fact]), type=list[type(fact)]) == [fact]  # type: ignore[misc]  # as in the row of its case


def test_facts_keep_what_the_event_holds() -> None:
    admitted = fact_of(
        quarantine_event("admitted", "04 09:00", slot="am", symptoms=True, temperature_c=37.3, reason=None)
    )
    assert (admitted.fever, admitted.symptoms, admitted.slot, admitted.reason, admitted.to_site_id) == (
        True, True, "am", "", "",
    )  # fmt: skip
    assert fact_of(followup_event("visit", "04 09:00", visit="refused")).visit == "refused"


@pytest.mark.parametrize(("replay", "fever"), [(False, False), (True, True)])
def test_what_is_fever_is_in_the_policy_of_the_arrival_or_in_a_replay_of_the_observation(
    replay: bool, fever: bool
) -> None:
    policies, start_ms = default_policies(replay=replay), ARRIVED_MS - 1000  # observed before, received after
    winter = PolicyRecord("winter", 1, "anna", "JN-1", 38.0, [30.0, 45.0], 300.0, {}, "370115", [])
    use = PolicyUse("active", datetime.fromtimestamp(start_ms / 1000, UTC), None, "ben")
    for key, value in ((policy_key("winter", 1), winter), (use_key("winter", 1), use)):
        assert policies.timeline.apply(key, value, start_ms - 60_000) is None
    event = msgspec.convert(quarantine_event("reading", "04 09:30", temperature_c=37.5, slot="am"), QuarantineEvent)
    accepted = AcceptedEvent(event, SimpleNamespace(timestamp=ARRIVED_MS))
    fact = quarantine_kind(14, policies).fact_of(accepted)
    [row] = quarantine_event_rows(ReceivedEvent(event, DAY, ARRIVED_MS, 0, late=False), policies, 14)
    assert fact.fever is fever and row == quarantine_fact_row(fact)


@pytest.mark.parametrize(
    ("event", "term_days"),
    [
        (quarantine_event("admitted", "04 09:00"), 10),
        (quarantine_event("admitted", "04 09:00", term_days=7), 7),
        (quarantine_event("extended", "04 09:00"), 0),
        (quarantine_event("extended", "04 09:00", term_days=21), 21),
        (quarantine_event("reading", "04 09:00"), 0),
        (followup_event("opened", "04 09:00"), 10),
        (followup_event("opened", "04 09:00", term_days=60), 60),
        (followup_event("extended", "04 09:00"), 0),
    ],
)
def test_only_the_beginning_of_a_case_has_the_default_term(event: dict[str, Any], term_days: int) -> None:
    assert fact_of(event).term_days == term_days


@pytest.mark.parametrize("term_days", [0, 61, -1, 14.5, "14"])
@pytest.mark.parametrize("kind", [QuarantineEvent, FollowupEvent])
def test_a_term_that_is_no_number_of_1_to_60_days_is_rejected(term_days: Any, kind: Any) -> None:
    event = (
        quarantine_event("extended", "04 09:00") if kind is QuarantineEvent else followup_event("extended", "04 09:00")
    )
    with pytest.raises(Rejected) as error:
        decode(kind, encode(event | {"term_days": term_days}))
    assert (error.value.reason, error.value.path) == ("schema_invalid", "/term_days")


def test_a_follow_up_event_of_a_device_that_knows_no_terms_is_valid() -> None:
    event = followup_event("opened", "04 09:00")
    del event["term_days"]
    assert decode(FollowupEvent, encode(event)).term_days is None
