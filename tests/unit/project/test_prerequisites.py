"""What `make` says and does on a machine that lacks programs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


class Machine:
    """A machine with a few programs and the account of root. Its `apt-get` notes how it is called, and makes the programs `installs`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "bin"
        self.programs.mkdir()
        self.calls = folder / "calls"
        for name in ("grep", "chmod"):
            self.has(name, shutil.which(name))
        self.has_script("id", "echo 0")
        self.has("ldconfig")  # knows no library

    def has(self, name: str, program: str | None = None) -> None:
        """Adds a program: that of this machine, or one that does nothing."""
        if program:
            (self.programs / name).symlink_to(program)
        else:
            self.has_script(name, "exit 0")

    def has_script(self, name: str, script: str) -> None:
        (self.programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.programs / name).chmod(0o755)

    def has_font(self) -> None:
        (self.folder / "truetype" / "wqy").mkdir(parents=True)
        (self.folder / "truetype" / "wqy" / "wqy-microhei.ttc").touch()

    def has_apt(self, *installs: str, status: int = 0) -> None:
        made = "".join(
            f"printf '#!/bin/sh\\n' > {self.programs / name}; chmod 755 {self.programs / name}\n" for name in installs
        )
        self.has_script("apt-get", f'echo "$*" >> {self.calls}\n{made}exit {status}')

    def check(self, *groups: str) -> tuple[int, str]:
        """Returns the status and the messages of the check."""
        done = subprocess.run(
            ["/bin/sh", str(ROOT / "deploy" / "prerequisites.sh"), *groups],
            env={"PATH": str(self.programs), "FONTS": str(self.folder)}, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert not done.stdout
        return done.returncode, done.stderr

    def installed(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_all_that_is_missing_is_one_line_of_apt_get_for_an_account_that_may_not_install(machine: Machine) -> None:
    machine.has_apt()
    machine.has_script("id", "echo 1000")
    machine.has("mvn")
    machine.has("git")
    assert machine.check("run", "tests") == (
        1,
        "missing: Python with venv, Java, ps, openssl, promtool, Chromium, libatomic.so.1, WenQuanYi Micro Hei. "
        "Run this as root: apt-get install python3-venv default-jre-headless procps openssl prometheus chromium libatomic1 fonts-wqy-microhei\n",
    )
    assert machine.installed() == []


def test_root_on_debian_gets_all_that_is_missing_in_one_installation(machine: Machine) -> None:
    machine.has_apt("java", "mvn", "promtool", "chromium")
    machine.has("python3", sys.executable)
    for name in ("git", "ps", "openssl"):
        machine.has(name)
    machine.has_script("ldconfig", "echo libatomic.so.1")
    machine.has_font()
    status, messages = machine.check("run", "tests")
    assert (status, messages.splitlines()) == (
        0,
        [
            "missing: Java, Maven, promtool, Chromium. Running apt-get install default-jre-headless maven prometheus chromium"
        ],
    )
    assert machine.installed() == [
        "update -qq",
        "install -y -qq --no-install-recommends default-jre-headless maven prometheus chromium",
    ]
    assert machine.check("run", "tests") == (0, "") and len(machine.installed()) == 2


def test_a_failure_of_apt_get_ends_with_what_to_do(machine: Machine) -> None:
    machine.has_apt(status=100)
    status, messages = machine.check("bare")
    assert status == 1
    assert messages.splitlines()[-1] == (
        "apt-get failed, as it says above. Correct that, then run apt-get install git debootstrap"
    )


def test_a_program_that_stays_unusable_after_its_installation_is_named(machine: Machine) -> None:
    machine.has_apt("git")
    status, messages = machine.check("bare")
    assert status == 1
    assert messages.splitlines()[-1] == (
        "apt-get installed debootstrap, but debootstrap cannot be used: check PATH and PYTHON"
    )


def test_a_system_without_apt_names_the_packages_of_debian(machine: Machine) -> None:
    assert machine.check("bare") == (
        1,
        "missing: git, debootstrap. Install what this system has for the packages of Debian: git debootstrap\n",
    )


def test_a_python_that_is_too_old_is_named_with_its_version(machine: Machine) -> None:
    machine.has_script("python3", 'case "$*" in *ensurepip*) ;; *platform*) echo 3.9.2 ;; *) exit 1 ;; esac')
    for name in ("java", "mvn"):
        machine.has(name)
    assert machine.check("run") == (
        1,
        "Python 3.11 or later is needed, python3 is 3.9.2: make PYTHON=/path/to/python\n",
    )


@pytest.mark.parametrize(
    ("targets", "groups"),
    [
        ("run", "run"),
        ("lint", "run"),
        ("test", "run tests"),
        ("run unit", "run tests"),
        ("bench-peers", "run tests peers"),
    ],
)
def test_make_checks_what_its_targets_need_before_anything_else(targets: str, groups: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", *targets.split()], cwd=ROOT, capture_output=True, text=True
    )
    commands = done.stdout.splitlines()
    assert commands[0].split("prerequisites.sh ")[1].split() == groups.split(), done.stderr
    assert "prerequisites.sh" not in "".join(commands[1:])
