"""ClickHouse's native protocol in front of the engine of chDB: a modern server for tests.

    python -m tests.engines.native_server FOLDER

FOLDER holds `settings.json` and keeps the data: `port`, `tls` (a PEM file with key and certificate, or null), `accounts` (see
`native_accounts`), `merge_tree` (settings of the engine's tables), `zookeeper` (the port of one, for replicated tables, or null), and `http` (a port that accepts inserts, or null). The process ends with SIGTERM; it may be killed at any moment.

What a real server has and this one has not: more of HTTP than inserts, replication and other servers, compression of blocks, logs in `system`, asynchronous
inserts (blocks are written before the answer, whatever `async_insert` says), and settings or users that change while it runs, other than
passwords.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socketserver
import ssl
import sys
import threading
from pathlib import Path
from typing import Any

from chdb.session import Session

from .native_accounts import read_accounts, users_xml
from .native_connection import Connection
from .native_http import http_listener


class Listener(socketserver.ThreadingTCPServer):
    """Accepts clients, each in a thread of its own."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path) -> None:
        """Opens the engine and the port.

        Args:
            folder: holds the settings and the data.
        """
        self._settings_file = folder / "settings.json"
        settings: dict[str, Any] = json.loads(self._settings_file.read_text())
        self._engine_path = engine_path(folder, settings)
        self._engine = Session(self._engine_path)  # keeps the engine open while nobody is connected
        version = self._engine.query("SELECT version()", "TSV").bytes().decode()
        major, minor, patch, *_ = map(int, version.split("."))
        self._version = (major, minor, patch)
        self._tls: ssl.SSLContext | None = None
        if settings["tls"]:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(settings["tls"])
        self.http = http_listener(settings["http"], self._engine_path) if settings["http"] else None
        super().__init__(("127.0.0.1", settings["port"]), socketserver.BaseRequestHandler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serves one client."""
        with contextlib.suppress(OSError, EOFError):
            client = self._tls.wrap_socket(request, server_side=True) if self._tls else request
            with client:
                Connection(client, self._settings_file, self._engine_path, self._version).serve()


def engine_path(folder: Path, settings: dict[str, Any]) -> str:
    """Writes the configuration of the engine into the folder. Returns the path that opens it."""
    own = folder / "engine"
    own.mkdir(exist_ok=True)
    (own / "users.xml").write_text(users_xml(read_accounts(settings)))
    tables = "".join(f"<{name}>{value}</{name}>" for name, value in settings["merge_tree"].items())
    (own / "config.xml").write_text(
        f"<clickhouse><users_config>{own}/users.xml</users_config><merge_tree>{tables}</merge_tree>"
        f"{replication(settings['zookeeper']) if settings['zookeeper'] else ''}"
        "<mark_cache_size>268435456</mark_cache_size></clickhouse>"
    )
    return f"{folder}/data?config-file={own}/config.xml"


def replication(port: int) -> str:
    """Returns the configuration of replicated tables with the ZooKeeper on a port.

    Replicas stay read-only, because the engine has no interserver port; `ON CLUSTER` is refused.
    """
    return (
        f"<zookeeper><node><host>127.0.0.1</host><port>{port}</port></node></zookeeper>"
        "<macros><shard>1</shard><replica>1</replica></macros>"
        "<default_replica_path>/clickhouse/tables/{shard}/{database}/{table}</default_replica_path>"
    )


def end_with_the_test() -> None:
    """Ends the process when its standard input is closed: the process that started it has ended."""
    sys.stdin.read()
    os._exit(0)


def main() -> None:
    """Serves clients until SIGTERM, or until the test that started it ends."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    threading.Thread(target=end_with_the_test, daemon=True).start()
    listener = Listener(Path(sys.argv[1]))
    if listener.http:
        threading.Thread(target=listener.http.serve_forever, daemon=True).start()
    listener.serve_forever()


if __name__ == "__main__":
    main()
