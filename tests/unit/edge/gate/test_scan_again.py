"""Who could scan again is told: the device's tickets and answers, the screen, and `ninezero scan`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, get_args

import pytest
from rich.console import Console

from ninezero.agents.cli.edge.scan_sending import SendCounts, _outcome_text
from ninezero.schemas.events import QualityFlag
from ninezero.streams import settings
from ninezero.streams.edge.device.answers import Answer, QualityFinding
from ninezero.streams.edge.device.device import Device
from ninezero.streams.edge.device.travellers import Passage, Traveller
from ninezero.streams.edge.documents.key_ring import new_ring
from ninezero.streams.edge.gate.scan_again import scan_again
from ninezero.streams.edge.gate.screen import show

ID, MISREAD = "11010519491231002X", "11010519491231020X"
MRZ = ["P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<", "L898902C36UTO7408122F3504159ZE184226B<<<<<10"]


@pytest.fixture
def device(tmp_path: Path) -> Any:
    """A device without a broker: events wait in its outbox. Its answers are appended to `answers`."""
    new_ring(tmp_path / "keys.json")
    answers: list[Answer] = []
    environment = {
        "NINEZERO_KAFKA": "127.0.0.1:1", "NINEZERO_KEYS": str(tmp_path / "keys.json"), "NINEZERO_OUTBOX": str(tmp_path / "outbox"),
        "NINEZERO_ORDER": "JY-2026-1", "NINEZERO_SUNSET": "2099-01-01T00:00:00+08:00",
    }  # fmt: skip
    with Device(
        settings.load(environment, edge=True), site_id="road-01", device_id="a", on_answer=answers.append
    ) as opened:
        opened.answers = answers  # type: ignore[attr-defined]
        yield opened


def test_a_ticket_and_its_answer_state_what_to_scan_again(device: Any) -> None:
    people = [
        Traveller(role="driver", id=ID),
        Traveller(role="passenger", id=MISREAD, mrz=MRZ, phone="123"),
        Traveller(role="passenger", passport="GER/C01X00T47"),
    ]
    ticket = device.scan("vehicle", people, plate="鲁A1234O")
    assert ticket.findings == (
        QualityFinding(1, "id", "checksum_failed"), QualityFinding(1, "phone", "phone_invalid"),
        QualityFinding(1, "mrz", "mrz_expiry_failed"), QualityFinding(1, "mrz", "mrz_composite_failed"),
        QualityFinding(2, "passport", "no_issuing_state"), QualityFinding(None, "plate", "plate_unrecognised"),
    )  # fmt: skip
    expected = tuple(finding.flag for finding in ticket.findings)
    assert ticket.quality == ticket.wait(0).quality == expected and ticket.wait(0).outcome == "not_checked"
    seq = ticket.seq
    del ticket  # the answer has the flags although nobody holds the ticket
    device._resolve(seq, "clear", [])
    assert device.answers[-1].quality == expected and device.answers[-1].outcome == "clear"


def test_an_event_without_a_fault_has_no_flags_and_an_arrival_has_its_own(device: Any) -> None:
    [ticket] = device.scan_all([Passage(kind="pedestrian", people=[Traveller(role="pedestrian", id=ID)])])
    assert ticket.quality == ticket.wait(0).quality == ()
    arrival = device.arrive(
        Traveller(role="traveller", id="110105194912310021"), mode="rail", service="G123", stage="registered"
    )
    assert arrival.quality == ("checksum_failed",)
    same = device.scan("vehicle", [Traveller(role="driver", id="#")], plate="#")
    assert same.quality == ("bad_character",) and len(same.findings) == 2


def test_every_flag_has_a_reason_in_both_languages_that_quotes_no_value() -> None:
    for flag in get_args(QualityFlag):
        again = scan_again([QualityFinding(0, "id", flag)])
        assert (
            again is not None
            and again.zh.startswith("请重新扫描：第 1 人 身份证：")
            and again.en.startswith("scan again: person 1 identity card: ")
        )
    assert scan_again([]) is None
    assert (
        str(scan_again([QualityFinding(None, "plate", "plate_unrecognised")]))
        == "请重新扫描：车牌：号牌格式不认识 scan again: plate: not a known form of plate"
    )


@pytest.mark.parametrize("outcome", ["clear", "hold", "not_checked"])
def test_the_screen_and_the_command_show_the_reason_beside_any_outcome(outcome: Any) -> None:
    findings = (QualityFinding(1, "id", "checksum_failed"), QualityFinding(1, "mrz", "mrz_format"))
    console = Console(file=io.StringIO(), width=200)
    show(Answer(7, outcome, (), findings), console)
    screen = console.file.getvalue()  # type: ignore[attr-defined]
    assert (
        "scan again: person 2 identity card: check character is wrong · person 2 travel document: not a complete"
        in screen
    )
    assert "请重新扫描：第 2 人 身份证：校验码不符" in screen
    shown = _outcome_text(outcome, (), findings)
    assert shown.startswith(f"{outcome}; 请重新扫描：第 1 人 身份证：校验码不符") and shown.endswith(
        "[checksum_failed, mrz_format]"
    )
    assert "scan again: person 1 identity card: check character is wrong" in shown
    assert _outcome_text(outcome, (0, 2), ()) == f"{outcome} (person 0, 2)"


def test_the_summary_of_a_scan_names_what_went_wrong_and_why_nothing_was_checked() -> None:
    assert str(SendCounts(1, 0, "Kafka is down")) == "1 line was not accepted: do not read that as clear"
    assert str(SendCounts(0, 1)) == "1 scan was not checked: do not read that as clear"
    summary = "2 lines were not accepted, 1,000 scans were not checked: do not read that as clear; Kafka is down"
    assert str(SendCounts(2, 1_000, "Kafka is down")) == summary
