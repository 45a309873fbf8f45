"""Names that would be SQL, log lines, formulas, HTML or paths are rejected or escaped on the command line and in settings.

Each is rejected in one line that quotes nothing, before anything is done. Output contains no control sequence of a terminal and no
formula of a spreadsheet.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest

from ninezero import Device, DeviceError
from ninezero.agents.cli import main as cli
from ninezero.agents.cli.console import csv_cell, print_table
from ninezero.streams import clickhouse
from ninezero.streams.edge.documents.key_ring import new_ring
from ninezero.streams.settings import SettingsError, load
from tests.fuzz.hostile import BAD_TIMES, CANARY, FAR_TIMES, HOSTILE_TEXT

GOOD = {
    "NINEZERO_KAFKA": "127.0.0.1:1", "NINEZERO_CLICKHOUSE": "clickhouse://127.0.0.1:1", "NINEZERO_ORDER": "O-1",
    "NINEZERO_SUNSET": "2100-01-01T00:00:00Z",
}  # fmt: skip
NAMES = [text for text in HOSTILE_TEXT if text.strip()]
PUSH = {
    "--authority": "cdc",
    "--list": "l",
    "--category": "close_contact",
    "--by": "p",
    "--basis": "B",
    "--batch-id": "b",
}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command in this process and returns its exit status, standard output and standard error."""
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    new_ring(tmp_path / "keys.json")
    monkeypatch.setenv("NINEZERO_KEYS", str(tmp_path / "keys.json"))
    monkeypatch.chdir(tmp_path)

    def runs(*arguments: str) -> tuple[Any, str, str]:
        monkeypatch.setattr("sys.argv", ["ninezero", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return runs


def assert_rejected(result: tuple[Any, str, str], name: str) -> None:
    """The command failed with one line that does not contain the name."""
    status, shown, error = result
    assert (status, shown, error.count("\n")) == (1, "", 1), (name, result)
    assert error.startswith("ninezero: ") and "unexpected" not in error, (name, error)
    assert len(name) < 3 or name not in error, (name, error)


@pytest.mark.parametrize("option", PUSH)
def test_a_push_rejects_hostile_names(option: str, run: Any) -> None:
    for name in NAMES:
        given = PUSH | {option: name}
        assert_rejected(run("push", "none.csv", *(f"{one}={value}" for one, value in given.items())), name)


def test_the_watchlist_commands_reject_hostile_names(run: Any) -> None:
    for option in ("--authority", "--list", "--batch-id"):
        for name in NAMES:
            assert_rejected(run("watchlist", "audit", f"{option}={name}"), name)
    for name in NAMES:
        assert_rejected(run("watchlist", "show", "--", name), name)


def test_no_file_name_appears_in_an_error(run: Any, tmp_path: Path) -> None:
    names = [name.replace("/", "-").replace("\0", "-") for name in NAMES if 1 < len(name) < 200]
    for name in names:
        (tmp_path / name).write_text("a,b\n1,2\n")  # no known column
        assert_rejected(run("push", *(f"{one}={value}" for one, value in PUSH.items()), "--", name), name)
        assert_rejected(run("sites", "load", "--", name), name)


def test_no_cell_or_header_of_a_sheet_appears_in_output_or_rejects(run: Any, tmp_path: Path) -> None:
    columns = ["id", "phone", "passport", "plate", "valid_from", "valid_to"]
    cells = [
        *NAMES,
        *(str(value) for value in (*BAD_TIMES, *FAR_TIMES, "1e308", "-0.0", "9" * 400, "NaN", CANARY, f"=1+{CANARY}")),
    ]
    with (tmp_path / "sheet.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, *(name.replace("\0", " ") for name in NAMES[:20])])
        for number, cell in enumerate(cells):
            row = ["11010519491231002X", "13800138000", "", "", "", "2100-01-01"]
            row[number % len(columns)] = cell.replace("\0", " ")
            writer.writerow(row)
            writer.writerow([cell.replace("\0", " ")] * len(columns))
    status, shown, error = run("push", "sheet.csv", "--check", *(f"{one}={value}" for one, value in PUSH.items()))
    assert (status, error) == (None, "") and "nothing was sent" in shown
    rejects = (tmp_path / "rejects-b.csv").read_text(encoding="utf-8-sig")
    assert len(rejects.splitlines()) > len(cells)
    for *facts, what_to_do in csv.reader(io.StringIO(rejects)):
        assert re.fullmatch(r"[a-z0-9_:;,]+", ",".join(facts)) and re.fullmatch(r"[A-Za-z0-9_:;,.+ -]+", what_to_do)
        assert not any(text.startswith(("=", "+", "@", "-")) for text in (*facts, what_to_do))
    assert CANARY not in rejects and not any(name in rejects for name in NAMES if len(name) > 3)
    assert CANARY not in shown and not any(name in shown for name in NAMES if len(name) > 3)


@pytest.mark.parametrize("name", ["NINEZERO_ORDER", "NINEZERO_TOPIC_PREFIX", "NINEZERO_TIMEZONE", "NINEZERO_HOME", "NINEZERO_KAFKA", "NINEZERO_HTTP", "NINEZERO_CLICKHOUSE"])  # fmt: skip
def test_hostile_settings_are_rejected(name: str) -> None:
    fits = {"NINEZERO_TOPIC_PREFIX": {"-1", "..", ".", "_a", "a12345678901", "a" * 65}}.get(name, set())
    for value in NAMES:
        if value in fits:
            continue
        with pytest.raises(SettingsError) as error:
            load(GOOD | {name: value})
        assert name in str(error.value) and "\n" not in str(error.value)
        assert len(value) < 3 or value not in str(error.value)


def test_a_device_rejects_hostile_names(tmp_path: Path) -> None:
    settings = load(GOOD | {"NINEZERO_OUTBOX": str(tmp_path)}, edge=True)
    for name in NAMES:
        for given in ({"site_id": name, "device_id": "d"}, {"site_id": "s", "device_id": name}):
            with pytest.raises(DeviceError) as error:
                Device(settings, **given)
            assert "\n" not in str(error.value) and (len(name) < 3 or name not in str(error.value))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "sql",
    ["SELECT 1; DROP TABLE ninezero_data.site_register", "SELECT 1 INTO OUTFILE '/tmp/x'", "SELECT 1 into/**/outfile 'x'",
     "WITH 1 AS x INSERT INTO t SELECT x", "SELECT $a$'$a$; DROP TABLE x; --'", "DROP TABLE x", "-- SELECT\nDROP TABLE x", ""],
)  # fmt: skip
def test_a_query_that_is_not_one_read_is_rejected(sql: str) -> None:
    with pytest.raises(clickhouse.ClickHouseError):
        clickhouse.check_read_only(sql)


@pytest.mark.parametrize("sql", ["SELECT 1", " (SELECT 1);", "WITH 1 AS x SELECT x;\n", "show tables"])
def test_a_statement_that_reads_is_accepted(sql: str) -> None:
    clickhouse.check_read_only(sql)


def test_a_printed_table_contains_no_control_sequence(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{f"[red]{name}": f"[/x]{name}"} for name in NAMES if len(name) < 100])
    shown = capsys.readouterr().out
    assert "[/x]" in shown and "[red]" in shown
    assert all(c == "\n" or c.isprintable() for c in shown)


def test_rows_that_are_wider_than_the_terminal_are_blocks_and_nothing_is_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    rows: list[dict[str, Any]] = [
        {"授权": "cdc-jiyang", "batch_id": f"contacts-20261201-{n}a2c6e334a", "to": None} for n in (1, 2)
    ]
    monkeypatch.setenv("COLUMNS", "40")
    print_table(rows)
    first = "授权      cdc-jiyang\nbatch_id  contacts-20261201-1a2c6e334a\nto        NULL\n"
    assert capsys.readouterr().out == f"{first}\n{first.replace('-1a', '-2a')}"
    monkeypatch.setenv("COLUMNS", "80")
    print_table(rows)
    assert "│ cdc-jiyang │ contacts-20261201-1a2c6e334a │ NULL │" in capsys.readouterr().out


def test_text_that_a_spreadsheet_would_evaluate_is_quoted() -> None:
    text = io.StringIO()
    csv.writer(text).writerow(
        [csv_cell(value) for value in ("=1+1", "+1", "-1", "@A1", "\t=1", -3, 1.5, "a=1", None, "")]
    )
    assert next(csv.reader([text.getvalue()])) == ["'=1+1", "'+1", "'-1", "'@A1", "'\t=1", "-3", "1.5", "a=1", "", ""]
