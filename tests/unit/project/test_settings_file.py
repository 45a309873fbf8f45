"""The settings file: what `ninezero init` writes, how it is read, and what is wrong with one, in one line without a value."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from ninezero.agents.cli import init
from ninezero.agents.cli.console import CommandError
from ninezero.agents.cli.init import template
from ninezero.streams.settings import SETTINGS, Place, SettingsError, known_in_file, load, missing, not_set, with_file
from ninezero.streams.settings_file import read
from tests.support import NINEZERO

SECRET = "hidden-110105"
FILLED = {
    "NINEZERO_KAFKA": "127.0.0.1:9092",
    "NINEZERO_CLICKHOUSE": "chdb:///data",
    "NINEZERO_ORDER": "O-1",
    "NINEZERO_SUNSET": "2030-01-01T00:00:00+08:00",
    "NINEZERO_KEYS": "/keys.json",
}


def run(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    given = {name: value for name, value in os.environ.items() if not name.startswith("NINEZERO_")} | env
    return subprocess.run([NINEZERO, *arguments], capture_output=True, text=True, cwd=folder, env=given, timeout=60)


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / "ninezero.env"
    file.write_text(text)
    file.chmod(mode)
    return file


@pytest.mark.parametrize("place", get_args(Place))
def test_a_template_has_every_setting_of_its_machine_and_needs_its_gaps_filled(place: Place, tmp_path: Path) -> None:
    lines = list(template(place))
    named = {line.lstrip("# ").partition("=")[0] for line in lines if line.lstrip("# ").startswith("NINEZERO_")}
    assert named == {name for name, setting in SETTINGS.items() if place in setting.used_on}
    file = written(tmp_path, "\n".join(lines))
    assert read(file, known_in_file()) == {}, "a template sets nothing: each gap is named at the start"
    filled = "\n".join(line + FILLED[line[:-1]] if line.endswith("=") else line for line in lines)
    given = read(written(tmp_path, filled), known_in_file())
    assert load(given, edge=place != "worker").kafka == "127.0.0.1:9092"


def test_every_value_of_a_template_is_valid_where_it_names_no_file(tmp_path: Path) -> None:
    """The values behind # can be used as they are, each by itself."""
    tried = 0
    for name, setting in SETTINGS.items():
        value = setting.default or setting.example
        if setting.used_on and "/etc/" not in value and "SASL" not in name and "CLUSTER" not in name:
            load({**FILLED, name: value})
            tried += 1
    assert tried > 10


def test_every_missing_setting_is_in_one_message_with_an_example() -> None:
    with pytest.raises(SettingsError) as error:
        load({"NINEZERO_ORDER": " "})
    for name in ("NINEZERO_KAFKA", "NINEZERO_CLICKHOUSE", "NINEZERO_ORDER", "NINEZERO_SUNSET"):
        assert f"{name}={SETTINGS[name].example}" in str(error.value)
    assert "NINEZERO_KEYS" not in str(error.value) and "ninezero init" in str(error.value)
    assert "NINEZERO_KEYS" in missing({}, edge=True, also_needed=("NINEZERO_KEYS",))


def test_where_a_settings_file_is_named_a_missing_setting_belongs_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NINEZERO_SETTINGS", "/etc/ninezero/ninezero.env")
    with pytest.raises(SettingsError, match=r"=127.0.0.1:9092, in the file of NINEZERO_SETTINGS$"):
        raise not_set("NINEZERO_KAFKA")
    monkeypatch.delenv("NINEZERO_SETTINGS")
    with pytest.raises(SettingsError, match=r"or write a settings file with ninezero init$"):
        raise not_set("NINEZERO_KAFKA")


def test_a_file_is_written_once_and_privately(tmp_path: Path) -> None:
    done = run(tmp_path, "init", "edge", NINEZERO_SETTINGS="/no/such/file")
    assert (done.returncode, done.stderr) == (0, ""), "init works before there is a settings file"
    assert "fill in NINEZERO_KAFKA, NINEZERO_ORDER, NINEZERO_SUNSET, NINEZERO_KEYS" in done.stdout
    file = tmp_path / "ninezero.env"
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("mine\n")
    done = run(tmp_path, "init", "edge")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1) and "was not changed" in done.stderr
    assert file.read_text() == "mine\n"
    assert "cannot be written" in run(tmp_path, "init", "edge", str(tmp_path / "none" / "x")).stderr


def test_a_file_that_could_not_be_written_whole_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(place: Place) -> Iterator[str]:
        yield "# begun"
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(init, "template", full)
    with pytest.raises(CommandError, match="cannot be written"):
        init.init("edge", tmp_path / "ninezero.env")
    assert not list(tmp_path.iterdir())


def test_the_environment_comes_before_the_file_and_no_file_is_read_unnamed(tmp_path: Path) -> None:
    file = written(tmp_path, "NINEZERO_K=20\nexport NINEZERO_HOME='110105'\nNINEZERO_ORDER=\"O-1\"\n\n# comment\n")
    given = with_file({"NINEZERO_SETTINGS": str(file), "NINEZERO_K": "30", "NINEZERO_HOME": ""})
    assert (given["NINEZERO_K"], given["NINEZERO_HOME"], given["NINEZERO_ORDER"]) == ("30", "110105", "O-1")
    written(tmp_path, f"NINEZERO_TIMEZONE={SECRET}\n").rename(tmp_path / ".env")
    written(tmp_path, f"NINEZERO_TIMEZONE={SECRET}\n")
    (tmp_path / "documents.csv").write_text("id,1\n")
    assert run(tmp_path, "check-document", "documents.csv").returncode == 0, "files of the current folder are not read"
    for done in (
        run(tmp_path, "--settings", "ninezero.env", "check-document", "documents.csv"),
        run(tmp_path, "check-document", "documents.csv", NINEZERO_SETTINGS="ninezero.env"),
    ):
        assert (done.returncode, "NINEZERO_TIMEZONE is wrong" in done.stderr) == (1, True) and SECRET not in done.stderr


@pytest.mark.parametrize(
    ("text", "mode", "problem"),
    [
        ("\nNINEZERO_KAFAK=x\n", 0o600, "line 2: NINEZERO_KAFAK is not a setting: did you mean NINEZERO_KAFKA?"),
        (f"{SECRET}=1\n", 0o600, "line 1: it is not NAME=VALUE"),
        ("wang110105=1\n", 0o600, "line 1: the name is not a setting: see docs/reference/settings.md"),
        (f"NINEZERO_K {SECRET}\n", 0o600, "line 1: it is not NAME=VALUE"),
        (f"NINEZERO_ORDER={SECRET}\nNINEZERO_ORDER=x\n", 0o600, "line 2: NINEZERO_ORDER stands in the file twice"),
        (f"NINEZERO_ORDER='{SECRET}\n", 0o600, "line 1: the quotes of NINEZERO_ORDER do not match"),
        (f"NINEZERO_ORDER='a'{SECRET}'\n", 0o600, "line 1: the quotes of NINEZERO_ORDER do not match"),
        (f"NINEZERO_ORDER={SECRET} # ours\n", 0o600, "line 1: a comment stands behind NINEZERO_ORDER"),
        (f"NINEZERO_ORDER={SECRET}\0x\n", 0o600, "line 1: an invisible character stands in NINEZERO_ORDER"),
        (f"NINEZERO_ORDER='{SECRET}\u200b'\n", 0o600, "line 1: an invisible character stands in NINEZERO_ORDER"),
        ("NINEZERO_SETTINGS=other.env\n", 0o600, "line 1: NINEZERO_SETTINGS is not a setting"),
        (f"NINEZERO_KAFKA_SASL_PASSWORD={SECRET}\n", 0o640, "it holds a password: chmod 600 the file"),
        (f"NINEZERO_CLICKHOUSE=clickhouse://u:{SECRET}@h:9000\n", 0o604, "it holds a password: chmod 600 the file"),
        ("#" * 70_000, 0o600, "over 64 KiB"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_described_by_line_without_a_value(text: str, mode: int, problem: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as error:
        read(written(tmp_path, text, mode), known_in_file())
    assert problem in str(error.value) and "\n" not in str(error.value) and SECRET not in str(error.value)


def test_a_file_without_a_password_may_be_read_by_others(tmp_path: Path) -> None:
    file = written(tmp_path, "NINEZERO_CLICKHOUSE=clickhouse://u@h:9000\nNINEZERO_KAFKA_SASL_PASSWORD=\n", 0o644)
    assert read(file, known_in_file()) == {"NINEZERO_CLICKHOUSE": "clickhouse://u@h:9000"}


def test_a_file_that_is_missing_or_not_text_is_reported(tmp_path: Path) -> None:
    for content, problem in ((None, "cannot be read"), (b"\xff\xfe", "not UTF-8")):
        file = tmp_path / "settings"
        if content is not None:
            file.write_bytes(content)
        done = run(tmp_path, "--settings", "settings", "topics", "create")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1) and problem in done.stderr
