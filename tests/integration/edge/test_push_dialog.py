"""`ninezero push` and `watchlist explain` ask on a real terminal, in the language of the person, and a real lists role answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from openpyxl import Workbook

from ninezero.streams import settings as settings_
from ninezero.streams.edge.documents.key_ring import KeyRing, new_ring, rotate
from ninezero.streams.local_kafka.broker import Broker
from tests.integration.edge.test_device import read
from tests.support import System, wait_for
from tests.typist import Typist

ID, OTHER, PHONE = "440524188001010014", "11010519491231002X", "13800138000"
CHINESE = {"LC_ALL": "zh_CN.UTF-8"}
GIVEN = ("--authority", "cdc", "--category", "close_contact", "--by", "wang", "--basis", "A-3")


@pytest.fixture(scope="module")
def system(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("dialog")
    new_ring(folder / "keys.json")
    deployment = System(
        kafka.bootstrap, f"chdb://{folder}/db", folder,
        NINEZERO_KEYS=str(folder / "keys.json"), NINEZERO_OUTBOX=str(folder / "outbox"),
    )  # fmt: skip
    done = deployment.run("topics", "create", "--partitions", "1")
    assert done.returncode == 0, done.stderr
    deployment.start("lists")
    wait_for(lambda: deployment.ready("lists"), 60, "the lists role")
    yield deployment
    deployment.stop()


Open = Callable[..., Typist]


@pytest.fixture
def terminal(system: System) -> Iterator[Open]:
    typists: list[Typist] = []

    def opened(*arguments: str, prompt: str, **more: str) -> Typist:
        settings = settings_.load(system.env, edge=True)
        typists.append(Typist(settings, arguments, prompt, system.folder, NINEZERO_ORDER="TEST-2026-1", **more))
        return typists[-1]

    yield opened
    for typist in typists:
        assert not any(word in typist.screen() for word in (ID, OTHER, "张三")), "an identity on the screen"
        typist.close()


def answers(typist: Typist, *dialog: tuple[str, str]) -> None:
    """Answers questions, each when it is asked."""
    seen = 0
    for question, answer in dialog:

        def asked(question: str = question, seen: int = seen) -> bool:
            return question in typist.screen()[seen:]

        wait_for(asked, 30, f"{question} on the screen:\n{typist.screen()}")
        seen += typist.screen()[seen:].index(question) + len(question)
        typist.types(answer + "\n")


def pushes(system: System, list_: str) -> list[str]:
    return [push["batch_id"] for push in read(system, "watchlist-pushes") if push.get("list") == list_]


@pytest.mark.parametrize(
    ("language", "question", "columns", "days", "understood", "send", "applied", "next_time"),
    [
        ({"LC_ALL": "C.UTF-8"}, "File (CSV or .xlsx)", "In which column is each?", "For how many days", "add or renew people: authority cdc, list e1, close contact; by wang, basis A-3",
         "Send this? [y/n]", "applied: 2 accepted", "next time, as one command: ninezero push FILE --authority cdc --list e1 --category close_contact"),
        (CHINESE, "文件（CSV 或 .xlsx）", "每一项在哪一列", "有效几天", "添加或续期：机构 cdc，名单 e2，密切接触者；推送人 wang，依据 A-3",
         "发送？ [是 y / 否 n]", "已生效：新增或更新 2", "下次可直接运行：ninezero push FILE --authority cdc --list e2 --category close_contact"),
    ],
)  # fmt: skip
def test_everything_that_is_missing_is_asked_for_and_shown_before_it_is_sent(
    system: System, terminal: Open, tmp_path: Path, language: dict[str, str], question: str, columns: str, days: str,
    understood: str, send: str, applied: str, next_time: str,
) -> None:  # fmt: skip
    name = "e2" if language is CHINESE else "e1"
    path = tmp_path / "odd.csv"
    path.write_text(f"Naam,Telefoon,Nummer\n张三,{PHONE},{ID}\n张三,,{OTHER}\n")
    clerk = terminal("push", prompt=question, **language)
    answers(
        clerk, (question, str(path)), ("cdc-jiyang", "cdc"), ("contacts", name), ("close_contact)", "3"), ("wang", "王"),
        ("wang", "wang"), ("JY-2026-1-A3", "A-3"), ("(withdraw)", "1"), (columns, "C"),
    )  # fmt: skip
    for _ in range(3):  # passport: none; phone: the suggestion; plate: none
        clerk.types("\n")
    for _ in range(4):  # pass, document, start and end: none
        clerk.types("\n")
    answers(clerk, (days, "14"), (send, "y"))
    clerk.sees(applied, next_time.split(" --category")[0])
    clerk.ends(0)
    screen = re.sub(r"\s+", " ", clerk.screen())
    assert understood in screen and next_time in screen and "--map id=C --map phone=B" in screen
    assert ("row 1 is read as the header" in screen) == (name == "e1")
    [batch] = pushes(system, name)
    again = system.run("push", str(path), *GIVEN, "--list", name, "--days", "14", "--map", "id=C", "--map", "phone=B")
    assert b"these files were sent before as batch " + batch.encode() in again.stdout, again.stdout + again.stderr


def test_a_clerk_who_does_not_agree_or_leaves_sends_nothing(system: System, terminal: Open, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"id,valid_to\n{ID},{datetime.now(UTC) + timedelta(days=3):%Y-%m-%d}\n{OTHER},2020-01-01\n")
    for answer in ("n\n", "\x04"):
        clerk = terminal("push", str(path), *GIVEN, "--list", "refused", prompt="Send this?")
        assert "row 3: rejected (expired): the end has passed" in clerk.screen(), "it is shown before it is sent"
        clerk.types(answer)
        clerk.sees("nothing was sent")
        clerk.ends(1)
    clerk = terminal("push", str(path), *GIVEN, "--list", "refused", prompt="发送？", **CHINESE)
    assert "第 3 行：退回（expired）：截止日期已过" in clerk.screen() and "2 行：1 行正常，expired 1" in clerk.screen()
    clerk.types("否\n")
    clerk.sees("没有发送任何内容")
    clerk.ends(1)
    clerk = terminal("push", str(path), *GIVEN, "--list", "refused", prompt="Send this?")
    clerk.types("\x03")
    clerk.sees("nothing was sent")
    clerk.ends(130)
    assert pushes(system, "refused") == []
    path.write_text(f"{path.read_text()}{OTHER},\n")
    clerk = terminal("push", str(path), *GIVEN, "--list", "refused", "--yes", prompt="applied: 1 accepted")
    clerk.ends(0)
    assert "row 4: rejected (no_window)" in clerk.screen() and "For how many days" not in clerk.screen()


def test_health_passes_may_be_valid_for_longer_than_other_entries(terminal: Open, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"id\n{ID}\n")
    for category, limit in (("close_contact", "28"), ("health_pass", "36,500")):
        clerk = terminal("push", str(path), "--check", "--category", category, prompt=f"(1 to {limit}, such as 14")
        clerk.types("40000\n")
        clerk.sees(f"write a whole number from 1 to {limit}")
        clerk.types(limit.replace(",", "") + "\n")
        clerk.sees("1 line: 1 good", "nothing was sent")
        clerk.ends(0)


def test_hidden_rows_and_sheets_are_asked_for(terminal: Open, tmp_path: Path) -> None:
    book, path = Workbook(), tmp_path / "book.xlsx"
    book.active.append(["请在第二张表中填写"])
    page = book.create_sheet("名单")
    for row in (
        ["身份证号", "截止"],
        [ID, datetime.now() + timedelta(days=3)],
        [OTHER, datetime.now() + timedelta(days=3)],
    ):
        page.append(row)
    page.row_dimensions[3].hidden = True
    book.save(path)
    clerk = terminal("push", str(path), *GIVEN, "--list", "hidden", prompt="Name or number of the sheet")
    answers(clerk, ("Name or number", "2"), ("leave them out (skip)", "2"), ("Send this?", "y"))
    clerk.sees("applied: 1 accepted", "1 hidden row left out")
    clerk.ends(0)


def test_a_batch_of_another_category_than_its_list_is_sent_only_after_a_question(
    system: System, terminal: Open, tmp_path: Path
) -> None:
    path = tmp_path / "listed.csv"
    path.write_text(f"id\n{ID}\n")
    call = ("push", str(path), *GIVEN, "--list", "kinds", "--days", "5", "--yes")
    assert b"applied: 1" in system.run(*call).stdout
    sent = pushes(system, "kinds")
    other = (*call, "--category", "health_pass")
    refused = system.run(*other)
    assert refused.returncode == 1 and b"correct --category, or name another --list" in refused.stderr
    for answer, status in (("n", 1), ("y", 0)):
        assert pushes(system, "kinds") == sent
        clerk = terminal(*other, prompt="the last batch of list kinds had the category")
        answers(clerk, ("Change the category of these people", answer))
        clerk.ends(status)
    assert len(pushes(system, "kinds")) == len(sent) + 1


def test_a_second_person_sees_a_held_batch_before_confirming_it(system: System, terminal: Open, tmp_path: Path) -> None:
    whole, empty = tmp_path / "whole.csv", tmp_path / "empty.csv"
    whole.write_text(f"id\n{ID}\n{OTHER}\n")
    empty.write_text("id\n")
    given = (*GIVEN, "--list", "ends", "--days", "5")
    assert b"applied: 2" in system.run("push", str(whole), *given).stdout
    held = system.run("push", str(empty), *given, "--full")
    [batch] = re.findall(r"ninezero push --confirm (\S+) --by WHO", held.stderr.decode())
    assert b"held (would_empty): it would empty the list" in held.stderr and held.stderr.count(b"\n") == 1
    assert batch.encode() in system.run("push", str(empty), *given, "--full").stderr, (
        "it is found again, and not sent again"
    )
    assert pushes(system, "ends")[1:] == [batch]
    second = terminal("push", "--confirm", batch, prompt="批次", **CHINESE)
    answers(second, ("would_empty：会清空整个名单", "li"), ("确认这个批次？", "y"))
    second.sees("已生效：新增或更新 0")
    second.ends(0)
    second = terminal("push", "--confirm", batch, "--by", "zhao", prompt="not confirmed: the batch is not held")
    second.ends(1)
    second = terminal("push", "--confirm", f"{batch}x", prompt="there is no receipt of such a batch")
    second.ends(1)
    assert "Confirm this batch?" not in second.screen() and "person who pushes" not in second.screen()
    shown = system.run("push", "--result", batch, "--language", "zh").stdout.decode()
    assert f"{batch}：由 wang 推送" in shown and f"{batch}：由 li 确认" in shown


def test_a_complaint_is_answered_from_all_lists_without_showing_the_document(
    system: System, terminal: Open, tmp_path: Path
) -> None:
    listed = tmp_path / "listed.csv"
    listed.write_text(f"id,phone\n{ID},{PHONE}\n")
    for name, batch in (("first", "c1"), ("second", "c2")):
        done = system.run("push", str(listed), *GIVEN, "--list", name, "--days", "5", "--batch-id", batch)
        assert b"applied: 1" in done.stdout, done.stderr
    before = {topic: len(read(system, topic)) for topic in ("watchlist-pushes", "push-receipts")}
    operator = terminal("watchlist", "explain", prompt="Kind of document", COLUMNS="200")
    answers(operator, ("Kind of document", "1"), ("(is not shown)", ""), ("cannot be read", ID.replace("4", "４", 1)))
    operator.sees("c1:1", "c2:1", "close_contact", "whenever", "watchlist audit --batch-id")
    operator.ends(0)
    other = terminal("watchlist", "explain", "--kind", "id", prompt="(is not shown)")
    other.types("370112199001011239\n")
    other.sees("check what was typed", "not listed: none of the")
    other.ends(0)
    assert {topic: len(read(system, topic)) for topic in before} == before
    assert system.run("watchlist", "explain").stderr.startswith(b"ninezero: run this on a terminal")


def test_the_entries_of_a_token_are_shown_without_the_token_in_an_argument(
    system: System, terminal: Open, tmp_path: Path
) -> None:
    listed = tmp_path / "listed.csv"
    listed.write_text(f"id\n{OTHER}\n")
    done = system.run("push", str(listed), *GIVEN, "--list", "tokens", "--days", "5", "--batch-id", "t1")
    assert b"applied: 1" in done.stdout, done.stderr
    [token] = KeyRing.load(Path(system.env["NINEZERO_KEYS"])).tokens("id", OTHER)
    piped = system.run("watchlist", "show", "--token", stdin=f"{token}\n".encode())
    assert b"t1:1" in piped.stdout and b"tokens" in piped.stdout, piped.stderr
    operator = terminal("watchlist", "show", "--token", prompt="(is not shown)", COLUMNS="200")
    operator.types(f"{token}\n")
    operator.sees("t1:1")
    operator.ends(0)
    assert token not in operator.screen()
    nobody = system.run("watchlist", "show", "--token", stdin=token.replace(token[-1], "0").encode())
    assert nobody.stdout == b"no rows\n", "a token that no entry has"
    for given, problem in (
        (
            ("show", token),
            "a token is no argument, because other users can read those: run ninezero watchlist show --token",
        ),
        (("show", "t1:1", "--token"), "give an entry_id or --token, not both"),
        (("show", "--token"), "this is no token"),
    ):
        refused = system.run("watchlist", *given, stdin=b"\xff\n").stderr.decode()
        assert problem in refused and refused.count("\n") == 1 and token not in refused


def test_lists_that_cannot_be_read_in_full_are_never_read_as_not_listed(
    system: System, terminal: Open, tmp_path: Path
) -> None:
    ring = tmp_path / "other.json"
    new_ring(ring)
    rotate(ring, timedelta(days=1))
    operator = terminal("watchlist", "explain", "--kind", "phone", prompt="(is not shown)", NINEZERO_KEYS=str(ring))
    operator.types("13900139000\n")
    operator.sees(
        "could not check: first of cdc has tokens of keys that this key ring lacks", "do not read this as not listed"
    )
    operator.ends(1)
    assert "not listed: none" not in operator.screen()
