"""`ninezero device` works in a terminal for a person and a barcode scanner, with a real broker."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ninezero.schemas.events import Outcomes, encode
from ninezero.streams.kafka import administration, sync
from ninezero.streams.local_kafka.broker import Broker
from ninezero.streams.settings import Settings
from tests.integration.edge.test_device_faults import deployment_settings, records
from tests.support import free_port, wait_for
from tests.typist import Typist

DEVICE = ("device", "--site", "road-01", "--device", "gate-a")
ID, OTHER, PLATE = "440524188001010014", "11010519491231002X", "鲁A12345"
MRZ = ["P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<", "L898902C36UTO7408122F1204159ZE184226B<<<<<10"]


@pytest.fixture
def settings(kafka: Broker, tmp_path: Path) -> Settings:
    new_settings = deployment_settings(kafka.bootstrap, tmp_path)
    administration.create_topics(new_settings, partitions=2)
    return new_settings


@pytest.fixture
def open_terminal(settings: Settings) -> Iterator[Any]:
    typists: list[Typist] = []

    def opened(**more: str) -> Typist:
        typists.append(Typist(settings, DEVICE, "? for help", **more))
        return typists[-1]

    yield opened
    for typist in typists:
        typist.close()


def answer(settings: Settings, seq: int, outcome: str, *people: int) -> None:
    """Writes an outcome as a screening worker does."""
    producer = sync.producer(settings)
    outcomes = Outcomes("road-01", datetime.now(UTC), 1, [("gate-a", seq, outcome, list(people))])
    producer.send(settings.topic("screening-outcomes"), key=b"road-01", value=encode(outcomes)).get(10)
    producer.close()


def sent(settings: Settings, count: int) -> list[dict[str, Any]]:
    wait_for(lambda: len(records(settings, "checkpoint-scans")) >= count, 20, f"{count} scans")
    return records(settings, "checkpoint-scans")


def test_typed_text_is_visible_until_it_is_entered_and_then_nowhere(open_terminal: Any, settings: Settings) -> None:
    typist = open_terminal()
    typist.types(PLATE[:4] + "X\x7f\x1b[D")
    typist.sees(PLATE[:4])
    assert PLATE[:4] + "X" not in typist.screen()
    typist.types(PLATE[4:] + "\r" + "1" * 150)
    typist.sees("  plate", "1" * 50)
    typist.types("\x15" + ID + "\r36.5\r+\r" + "\r".join(MRZ) + "\r")
    typist.sees("identity card", "person 2", "document line 1 of 2", "travel document")
    typist.types(f"{OTHER}\r{ID[:-1]}5\r")
    typist.sees("identity card was probably misread (check character is wrong), and was not used: scan it again")
    typist.types(f"{OTHER.lower()}\r36.6\rpass JZ-7\r\r")
    typist.sees("identity card: the same as before", "accepted · vehicle · in · people: 2")
    scan = sent(settings, 1)[0]
    assert scan["plate"] and [sorted(p["tokens"]) for p in scan["people"]] == [["id"], ["id", "pass", "passport"]]
    typist.types(f"{ID}\r")  # typed ahead while the answer is awaited
    time.sleep(0.3)
    answer(settings, 0, "refer", 1)
    typist.sees("转诊 REFER · person 2")
    typist.types("\x04q\r")
    typist.ends(0)
    assert "the last passage was not sent" in typist.screen()
    for secret in (ID, OTHER, PLATE, "12345", "JZ-7", "1111", *MRZ):
        assert secret not in typist.screen()


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"], ids=["CR", "LF", "CRLF"])
def test_a_scanner_may_end_lines_with_cr_lf_or_both(end: str, open_terminal: Any, settings: Settings) -> None:
    typist = open_terminal()
    typist.types(f"{ID}{end}" + "".join(MRZ) + end + f"36.5{end}")
    typist.sees("identity card", "travel document", "temperature")
    assert not records(settings, "checkpoint-scans"), "no line end is read as an empty line"
    typist.types("\r")
    assert sorted(sent(settings, 1)[0]["people"][0]["tokens"]) == ["id", "passport"]


def test_a_scanner_may_end_lines_with_tab_or_fs_and_send_prefixes_and_two_codes(
    open_terminal: Any, settings: Settings
) -> None:
    typist = open_terminal()
    typist.types(f"]C1{ID}\t]C1{OTHER}\t\t")  # two cards in quick succession
    typist.sees("+ it is the next person's", "是下一人的")
    typist.types("36.4\t+\t36.6\t\x1b")  # Esc alone swallows nothing
    typist.sees("not used, first answer", "person 2 · identity card · vehicle", "person 2 · temperature 36.6 °C")
    typist.types(']Q1{"data":{"color":"green"}}\x1c鲁A·1234O\t鲁A1234O\t鲁A12340\t')
    typist.sees(
        "绿码",
        "scan again: not a known form of plate",
        "plate: the same as before",
        "replaces the one that was misread",
    )
    assert not records(settings, "checkpoint-scans"), "a Tab never sends"
    typist.types("\r")
    scan = sent(settings, 1)[0]
    assert [sorted(person["tokens"]) for person in scan["people"]] == [["id"], ["id"]]
    assert [person["temperature_c"] for person in scan["people"]] == [None, 36.6]
    assert (scan["people"][1]["health_code"], scan["people"][1]["quality"], bool(scan["plate"])) == ("green", [], True)


def test_what_was_typed_in_chinese_is_what_is_sent(open_terminal: Any, settings: Settings) -> None:
    typist = open_terminal()
    typist.types(f"身份证：{ID}\r体温 ３６，５度\r来自 湖北\r黄码\r出\r")
    typist.sees("来自 湖北省", "from Hubei 420000", "体温 36.5 °C", "黄码", "离开")
    typist.types("来自 火星\r\r")
    typist.sees("no such place", "没有这个地方", "the last line was not used: correct it, or press Enter again")
    assert not records(settings, "checkpoint-scans"), "it is asked before the passage is sent"
    typist.types("撤回\r\r")
    scan = sent(settings, 1)[0]
    person = scan["people"][0]
    assert (scan["kind"], scan["direction"], scan["plate"]) == ("pedestrian", "out", None)
    assert (person["temperature_c"], person["origin"], person["health_code"]) == (36.5, "420000", "yellow")
    typist.types("？\r")
    typist.sees("撤回上一行", "takes the last line back", "每行扫描或输入一项", "Scan or type one item a line")


def test_not_checked_is_shown_after_five_seconds_and_a_late_answer_when_it_arrives(
    open_terminal: Any, settings: Settings
) -> None:
    typist = open_terminal()
    typist.types(f"{ID}\r36.5\r\r")
    typist.sees("未核验 NOT CHECKED  #0")
    typist.types(f"{OTHER}")
    answer(settings, 0, "refer", 0)
    typist.sees("转诊 REFER · person 1  #0", OTHER)
    typist.types("\r\r")
    sent(settings, 2)
    answer(settings, 1, "order_ended")
    typist.sees("应急令已终止 ORDER ENDED  #1")
    typist.types("\x04")
    typist.ends(0)


def test_ctrl_c_ends_it_immediately_and_restores_the_terminal(open_terminal: Any) -> None:
    typist = open_terminal()
    typist.types(ID)
    typist.sees(ID)
    typist.types("\x03")
    typist.ends(130)
    assert "Traceback" not in typist.screen() and ID not in typist.screen()


def test_without_a_broker_a_passage_is_kept_and_shown_as_not_checked(open_terminal: Any, settings: Settings) -> None:
    typist = open_terminal(NINEZERO_KAFKA=f"127.0.0.1:{free_port()}")
    typist.types(f"{ID}\r36.5\r\r")
    typist.sees("NOT CHECKED", "1 of 200000 events wait for Kafka", "Kafka does not answer")
    typist.types("q\r")
    typist.ends(1)
    assert "1 events in the outbox wait for Kafka: start the device again" in typist.screen().replace("\n", "")
    again = open_terminal()
    sent(settings, 1)
    again.process.send_signal(signal.SIGINT)


def test_a_terminal_without_utf_8_is_usable(open_terminal: Any, settings: Settings) -> None:
    typist = open_terminal(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="ascii")
    typist.types(b"\xc2\xb3A12345\r" + ID.encode() + b"\r36.5\r\r")
    typist.sees("identity card")
    sent(settings, 1)
    answer(settings, 0, "clear")
    typist.sees("CLEAR  #0")
