"""Whether a new outbox is the first one of its device is decided from the outcomes in Kafka, and never by mistake."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ninezero.schemas.events import Outcomes
from ninezero.streams import settings as settings_
from ninezero.streams.edge.device.outbox import Outbox, OutboxError
from ninezero.streams.edge.device.outcome_reader import OutcomeReader

GIVEN = {"NINEZERO_KAFKA": "127.0.0.1:9", "NINEZERO_ORDER": "T", "NINEZERO_SUNSET": "2099-01-01T00:00:00Z"}
OURS = Outcomes("s", datetime.now(UTC), 1, [("gate-a", 0, "clear", [])])


def test_an_outcome_of_a_former_outbox_that_could_not_be_recorded_ends_the_comparison_without_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If the disk was full for a moment, the numbers of the device would otherwise count as free."""
    box, heard = Outbox(tmp_path / "gate-a.sqlite", "gate-a"), list[int]()
    reader = OutcomeReader(
        settings_.load(GIVEN, edge=True), box, "s", "gate-a", lambda seq, outcome, people: heard.append(seq)
    )

    def full() -> None:
        raise OutboxError("the disk of the outbox is full: free some space")

    with monkeypatch.context() as patch:
        patch.setattr(box, "stop_accepting", full)
        with pytest.raises(OutboxError, match="full"):
            reader._apply(OURS, known=True)
    assert not box.is_stopped() and not box.compared()
    caplog.set_level(logging.INFO, "ninezero.device")
    for _ in range(100):
        reader._apply(OURS, known=True)
    reader._end_comparison()
    assert box.is_stopped() and not box.compared() and not heard
    assert len(caplog.records) == 1, "one line, not one for each outcome of the day"
    box.close()
