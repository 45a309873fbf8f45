"""The ClickHouse server of a test: a process of its own (`native_server`), or the one that NINEZERO_TEST_CLICKHOUSE names."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ninezero.streams import clickhouse
from tests.support import free_port, wait_for

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".cache" / "clickhouse" / "bin" / "python"
ACCOUNTS_FILE = ROOT / "deploy" / "clickhouse" / "accounts.sql"
DATABASES = ("ninezero", "ninezero_data", "ninezero_published")
PASSWORD = "secret"
"""The password of the accounts of `accounts.sql` on servers of tests."""

GIVEN = "NINEZERO_TEST_CLICKHOUSE"
"""The variable with the URL of a server for tests, such as clickhouse://default:secret@127.0.0.1:9000."""
MAY_DROP = "NINEZERO_TEST_CLICKHOUSE_DROP"
"""Set to 1: tests may drop the databases `ninezero*` that they find on that server."""


def account_statements() -> list[str]:
    """Returns the statements of deploy/clickhouse/accounts.sql."""
    text = re.sub(r"^--.*$", "", ACCOUNTS_FILE.read_text(), flags=re.M)
    return [statement.strip() for statement in text.split(";\n") if statement.strip()]


def accounts() -> dict[str, dict[str, Any]]:
    """Returns the accounts of the server: an administrator, `default`, and those that `accounts.sql` creates."""
    found: dict[str, dict[str, Any]] = {"default": {}}
    for statement in account_statements():
        if created := re.match(r"CREATE USER IF NOT EXISTS (\w+)", statement):
            found[created[1]] = {"password": PASSWORD, "grants": []}
        elif granted := re.fullmatch(r"((?:GRANT|REVOKE) .+) (?:TO|FROM) (\w+)", statement, re.S):
            found[granted[2]]["grants"].append(granted[1])
        else:
            raise AssertionError(f"accounts.sql: neither CREATE USER, GRANT nor REVOKE: {statement}")
    return found


class ClickHouseServer:
    """A server in a folder of its own, on a free port of 127.0.0.1. It has the accounts of deploy/clickhouse/accounts.sql."""

    def __init__(self, folder: Path, tls: Path | None = None) -> None:
        """Prepares the server.

        Args:
            folder: keeps the data in `data`, what the server prints in `log`, and its settings.
            tls: a PEM file with a key and a certificate; the server then accepts only TLS.
        """
        self.folder, self.host, self.port = folder, "127.0.0.1", free_port()
        self.settings: dict[str, Any] = {
            "port": self.port, "tls": str(tls) if tls else None, "http": None, "accounts": accounts(), "merge_tree": {},
            "zookeeper": None,
        }  # fmt: skip
        """See `native_server`. Passwords apply at once, the others from the next start on."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The value for NINEZERO_CLICKHOUSE: the account of the workers, so every statement of a test needs a grant of it."""
        return self.url_of("ninezero_writer", PASSWORD)

    @property
    def admin_url(self) -> str:
        """The URL of an account that may do everything."""
        return self.url_of("default", "")

    def url_of(self, user: str, password: str) -> str:
        """Returns the URL of an account."""
        return self._url(user, password, self.host, self.port)

    def url_through(self, port: int) -> str:
        """Returns the value for NINEZERO_CLICKHOUSE through a proxy on a port of 127.0.0.1."""
        return self._url("ninezero_writer", PASSWORD, "127.0.0.1", port)

    def _url(self, user: str, password: str, host: str, port: int) -> str:
        scheme = "clickhouses" if self.settings["tls"] else "clickhouse"
        return f"{scheme}://{user}:{password}@{host}:{port}"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None and self._process.poll() is None, "the server does not run"
        return self._process.pid

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        assert PYTHON.exists(), f"{PYTHON} is missing: run `make engines`"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write_settings()
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [PYTHON, "-m", "tests.engines.native_server", self.folder],
                stdin=subprocess.PIPE,  # closed when this process ends, so the server ends too
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, "TZ": "UTC", "PYTHONDONTWRITEBYTECODE": "1"},
            )
        try:
            wait_for(self._answers_or_ended, 30, "the ClickHouse server to answer")
            assert self._process.poll() is None, "the ClickHouse server ended"
        except AssertionError as error:
            self.close()
            raise AssertionError(f"{error}. It printed:\n{self.log()[-3000:]}") from None

    def reset(self) -> None:
        """Gives the server the state of a new one: its first settings, no database of ninezero, and running."""
        first = {**self.settings, "accounts": accounts(), "merge_tree": {}}
        if self._process is None or self._process.poll() is not None or self.settings["merge_tree"]:
            self.close()
            self.settings = first
            self.start()
        self.settings = first
        self.write_settings()
        self.signal(signal.SIGCONT)
        with closing(clickhouse.connect(self.admin_url)) as engine:
            drop_databases(engine)

    def write_settings(self) -> None:
        """Writes the settings where the server reads them."""
        (self.folder / "settings.json").write_text(json.dumps(self.settings))

    def log(self) -> str:
        """Returns what the server printed: one line of JSON per statement or login that it refused."""
        return (self.folder / "log").read_text(errors="replace")

    def _answers_or_ended(self) -> bool:
        assert self._process is not None
        with socket.socket() as probe:
            return self._process.poll() is not None or probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """Kills the server with SIGKILL. `start` starts it again on its data."""
        self.close()

    def close(self) -> None:
        """Ends the use of the server."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def signal(self, sign: signal.Signals) -> None:
        """Sends a signal to the server if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(sign)

    def set_password(self, password: str) -> None:
        """Gives the account of the workers another password on the server. `url` keeps the old one."""
        self.settings["accounts"]["ninezero_writer"]["password"] = password
        self.write_settings()

    def set_readonly(self, readonly: bool) -> None:
        """Makes new connections of the account of the workers read-only, or no longer."""
        self.settings["accounts"]["ninezero_writer"]["readonly"] = readonly
        self.write_settings()


class GivenServer(ClickHouseServer):
    """The server that NINEZERO_TEST_CLICKHOUSE names. Only one test at a time uses it; its databases `ninezero*` are dropped."""

    in_use = False
    checked = False

    def __init__(self, folder: Path, tls: Path | None = None) -> None:
        super().__init__(folder, tls)
        address = urlsplit(os.environ[GIVEN])
        self.host, self.port = address.hostname or "127.0.0.1", address.port or 9000

    @property
    def admin_url(self) -> str:
        return os.environ[GIVEN]

    def start(self) -> None:
        """Drops what an earlier test left, and creates the accounts."""
        if self.settings["tls"]:
            pytest.skip(f"{GIVEN}: its certificate is not that of the tests")
        if GivenServer.in_use:
            pytest.skip(f"{GIVEN}: another fixture uses the server")
        with closing(clickhouse.connect(self.admin_url)) as engine:
            if not GivenServer.checked and os.environ.get(MAY_DROP) != "1":
                names = ", ".join(f"'{name}'" for name in DATABASES)
                found = engine.query(f"SELECT count() AS tables FROM system.tables WHERE database IN ({names})")
                if found != [{"tables": 0}]:
                    pytest.exit(
                        f"{GIVEN} has tables in ninezero*: use another server, or set {MAY_DROP}=1 to drop them", 1
                    )
            GivenServer.checked = True
            drop_databases(engine)
            for statement in account_statements():
                engine.execute(statement)
                if created := re.match(r"CREATE USER IF NOT EXISTS (\w+)", statement):
                    engine.execute(f"ALTER USER {created[1]} IDENTIFIED BY '{PASSWORD}' HOST ANY")
        GivenServer.in_use = True

    def kill(self) -> None:
        pytest.skip(f"{GIVEN}: the test kills or reconfigures its server")

    def signal(self, sign: signal.Signals) -> None:
        self.kill()

    def set_password(self, password: str) -> None:
        self.kill()

    def set_readonly(self, readonly: bool) -> None:
        self.kill()

    def close(self) -> None:
        """Drops the databases and accounts of the test."""
        if GivenServer.in_use:
            GivenServer.in_use = False
            with closing(clickhouse.connect(self.admin_url)) as engine:
                drop_databases(engine)
                engine.execute("DROP USER IF EXISTS ninezero_writer, ninezero_reader, ninezero_public")


def drop_databases(engine: clickhouse.Engine) -> None:
    """Drops the databases of ninezero."""
    for name in DATABASES:
        engine.execute(f"DROP DATABASE IF EXISTS {name} SYNC")


def start_server(folder: Path, tls: Path | None = None) -> ClickHouseServer:
    """Returns a running server with no database of ninezero: one of its own, or the one that NINEZERO_TEST_CLICKHOUSE names."""
    server = (GivenServer if os.environ.get(GIVEN) else ClickHouseServer)(folder, tls)
    server.start()
    return server
