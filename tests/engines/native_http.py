"""Inserts over HTTP, for a client of the benchmarks that does not speak the native protocol."""

from __future__ import annotations

import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from chdb.session import Session

from .native_session import Upload


def http_listener(port: int, engine_path: str) -> ThreadingHTTPServer:
    """Returns a server that takes `POST /?query=INSERT INTO … FORMAT …` with the rows as the body, as an administrator."""

    class Insert(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            self.session = Session(engine_path)

        def finish(self) -> None:
            self.session.close()
            super().finish()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            (sql,) = parse_qs(urlsplit(self.path).query)["query"]
            insert = re.fullmatch(r"(INSERT INTO .+) FORMAT (\w+)", sql)
            try:
                if insert is None:
                    raise RuntimeError("only INSERT INTO … FORMAT … is accepted")
                with Upload() as upload:
                    upload.target.write(body)
                    self.session.query(upload.statement(insert[1], insert[2]), "Null")
            except RuntimeError as error:
                self._answer(500, str(error).encode())
            else:
                self._answer(200, b"")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Writes nothing."""

    return ThreadingHTTPServer(("127.0.0.1", port), Insert)
