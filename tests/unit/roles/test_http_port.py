"""The port of a worker, over raw sockets: which host names it answers, and what hostile clients can do to it and to its log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import ClientConnectionError, ClientSession, web

from ninezero.agents.roles.http import connections
from ninezero.agents.roles.http.server import listen, serve
from ninezero.streams.settings import SettingsError, load
from tests.support import free_port

EVERYWHERE = str(ip_address(0))
SECRET = "11010519491231002X"
SETTINGS = load(
    {"NINEZERO_KAFKA": "127.0.0.1:1", "NINEZERO_ORDER": "T", "NINEZERO_SUNSET": "2100-01-01T00:00:00Z",
     "NINEZERO_HTTP": "Worker-1:6066", "NINEZERO_HOSTS": "board.example.org, screening,10.0.0.5,[2001:db8::5]"},
    edge=True,
)  # fmt: skip


class Port:
    """A port that serves a page, one that fails, one that reads what it is sent, and one with a long answer."""

    def __init__(self, host: str) -> None:
        self.host, self.number = host, free_port()
        self.loop = asyncio.new_event_loop()
        self.finish = asyncio.Event()
        self.began = threading.Semaphore(0)
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        routes = [
            web.get("/page", self._page), web.get("/fails", self._fails), web.post("/reads", self._reads), web.get("/long", self._long),
            web.get("/waits", self._waits),
        ]  # fmt: skip
        self._stop = self.run(lambda: listen(SETTINGS, routes, host, self.number))

    def run(self, make: Callable[[], object]) -> Callable[[], object]:
        coroutine: object = make()
        assert asyncio.iscoroutine(coroutine)
        found: Callable[[], object] = asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)
        return found

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.finish.set)
        self.run(self._stop)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.number), timeout=30)

    def ask(self, request: bytes) -> bytes:
        """Sends bytes, and returns everything until the port closes the connection."""
        with self.connect() as client:
            client.sendall(request)
            return read_all(client)

    def get(self, path: str, *headers: str) -> bytes:
        return self.ask("\r\n".join((f"GET {path} HTTP/1.1", "Connection: close", *headers, "", "")).encode())

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text="the page")

    async def _fails(self, request: web.Request) -> web.Response:
        raise ValueError(request.query["who"])

    async def _reads(self, request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    async def _long(self, _: web.Request) -> web.Response:
        return web.Response(body=b"x" * (64 << 20))

    async def _waits(self, _: web.Request) -> web.Response:
        self.began.release()
        await self.finish.wait()
        return web.Response(text="waited")


def read_all(client: socket.socket) -> bytes:
    """Reads until the connection is closed. A connection that stays open ends the test."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(1 << 16):
            found += piece
    return found


@pytest.fixture
def port() -> Iterator[Port]:
    opened = Port("127.0.0.1")
    yield opened
    opened.stop()


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:6069", "127.0.0.1:1", "[::1]:80", "board.example.org", "Board.Example.Org:443", "screening:6066",
     "worker-1", "10.0.0.5", "[2001:DB8::5]:6069"],
)  # fmt: skip
def test_a_page_is_answered_under_the_names_of_the_deployment(port: Port, host: str) -> None:
    answer = port.get("/page", f"Host: {host}")
    assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"the page") and b"nosniff" in answer


@pytest.mark.parametrize(
    "headers",
    [[], ["Host:"], *([f"Host: {name}"] for name in (
        "evil.example", "evil.example:6066", "127.0.0.1.evil.example", "xboard.example.org", "board.example.org.evil.example", "10.0.0.6",
        "localhost:evil.example", "localhost@evil.example", "localhost, evil.example", "localhost evil", "[::1", "::1", EVERYWHERE,
        "[::1]evil.example", "2130706433.", "localhost:80:80", "\xff")),
     ["Host: evil.example", "X-Forwarded-Host: localhost"], ["Host: localhost", "Host: evil.example"], ["Host: evil.example", "Host: localhost"]],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/page", "/nothing"])
def test_no_page_is_answered_under_another_name(port: Port, path: str, headers: list[str]) -> None:
    answer = port.get(path, *headers)
    assert answer.startswith((b"HTTP/1.1 421 ", b"HTTP/1.1 400 ", b"HTTP/1.0 400 ")) and b"the page" not in answer


def test_a_worker_on_all_interfaces_is_reached_by_its_address_and_not_under_another_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As a probe of Kubernetes and a scrape of a pod ask it."""
    own = socket.gethostbyname(socket.gethostname())
    everywhere = Port(EVERYWHERE)
    try:
        with socket.create_connection((own, everywhere.number), timeout=30) as client:
            client.sendall(f"GET /page HTTP/1.1\r\nHost: {own}:6066\r\nConnection: close\r\n\r\n".encode())
            assert read_all(client).endswith(b"the page")
        for name in ("evil.example", EVERYWHERE, "192.0.2.7"):
            assert everywhere.get("/page", f"Host: {name}").startswith(b"HTTP/1.1 421 "), name
    finally:
        everywhere.stop()
    [line] = [record.getMessage() for record in caplog.records if "another host name" in record.getMessage()]
    assert "NINEZERO_HOSTS" in line and "evil" not in line, "one line, without what the client sent"


def test_metrics_and_health_of_a_role_are_guarded_too() -> None:
    number, stops = free_port(), list[Callable[[], Coroutine[object, object, None]]]()
    role: Any = SimpleNamespace(
        settings=SETTINGS,
        address=("127.0.0.1", number),
        routes=[],
        at_stop=stops.append,
        why_not_ready=lambda: "no list",
    )

    async def ask(path: str, host: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{number}/{path}"
        async with ClientSession() as session, session.get(url, headers={"Host": host}) as answer:
            return answer.status, await answer.text()

    async def run() -> None:
        await serve(role)
        assert await ask("healthz", "localhost") == (200, "ok\n")
        assert await ask("readyz", f"worker-1:{number}") == (503, "not ready: no list\n")
        assert "ninezero_build_info" in (await ask("metrics", "screening:6066"))[1]
        for path in ("healthz", "readyz", "metrics"):
            status, text = await ask(path, "evil.example")
            assert status == 421 and "NINEZERO_HOSTS" in text and "ninezero_" not in text
        with pytest.raises(SettingsError, match=f"NINEZERO_HTTP: port {number} cannot be opened"):
            await serve(role)
        [stop] = stops
        await stop()
        with pytest.raises(ClientConnectionError):
            await ask("healthz", "localhost")

    asyncio.run(run())


@pytest.mark.parametrize(
    "request_",
    [
        f"GET /{SECRET} HTTP/9.9\r\nHost: localhost\r\n\r\n".encode(), f"{SECRET} / HTTP/1.1\r\n\r\n".encode(), SECRET.encode() + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + SECRET.encode(), b"\0" * 9000 + SECRET.encode(), b"GET /" + SECRET.encode() * 2000 + b" HTTP/1.1\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: localhost\r\n{SECRET}\r\n\r\n".encode(), f"GET / HTTP/1.1\r\nHost: localhost\r\nX: {SECRET * 2000}\r\n\r\n".encode(),
        f"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {SECRET}\r\n\r\n".encode(),
        f"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n{SECRET}".encode(),
        f"POST /reads HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{SECRET}\r\n".encode(),
        f"POST /reads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{SECRET}".encode(),
        f"POST /reads HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: 18\r\n\r\n{SECRET}".encode(),
        f"GET /fails?who={SECRET} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode(),
        f"GET http://evil.example/{SECRET} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode(),
        f"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{SECRET}".encode(), f"GET /{'%2e%2e/' * 50}{SECRET} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode(),
    ],
)  # fmt: skip
def test_hostile_bytes_are_not_in_the_log_and_end_nothing(
    port: Port, request_: bytes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.5)
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.5)
    caplog.set_level(logging.INFO)
    answer = port.ask(request_)
    assert b" 200 " not in answer[:20] and b"Traceback" not in answer
    assert SECRET not in caplog.text and "Traceback" not in caplog.text
    assert port.get("/page", "Host: localhost").endswith(b"the page")


def test_a_page_that_fails_is_one_line_in_the_log_with_its_place(port: Port, caplog: pytest.LogCaptureFixture) -> None:
    answer = port.get(f"/fails?who={SECRET}", "Host: localhost")
    assert answer.startswith(b"HTTP/1.1 500 ") and SECRET.encode() not in answer
    assert [record.getMessage().rpartition(":")[0] for record in caplog.records] == [
        "a page failed: ValueError in _fails"
    ]


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET", b"GET /page HTTP/1.1\r\nHost: localhost\r\n", b"POST /reads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n12",
     b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\nGET /pa"],
    ids=["nothing", "a word", "headers without an end", "a body without an end", "idle after an answer", "half a second request"],
)  # fmt: skip
def test_a_slow_client_is_disconnected_even_if_it_sends_a_byte_now_and_then(
    port: Port, begun: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("HEADER_SECONDS", "REQUEST_SECONDS", "IDLE_SECONDS"):
        monkeypatch.setattr(connections, name, 1.0)
    with port.connect() as client:
        client.sendall(begun)
        client.settimeout(0.2)
        found, sent = [], 0
        with contextlib.suppress(ConnectionError):
            while True:
                try:
                    if not (piece := client.recv(4096)):
                        break
                    found.append(piece)
                except TimeoutError:
                    if begun and not begun.endswith(b"\n"):
                        client.sendall(b"x")
                        sent += 1
                    assert sent < 100, "it is never disconnected"
    assert b"".join(found).endswith(b"the page") == (b"/page HTTP/1.1\r\nHost: localhost\r\n\r\n" in begun)
    assert not caplog.records


def test_a_client_that_does_not_read_its_answer_is_disconnected(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "IDLE_SECONDS", 1.0)
    with port.connect() as client:
        client.sendall(b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(2)
        assert len(read_all(client)) < 64 << 20


def test_when_there_are_too_many_connections_the_one_that_waits_longest_is_closed(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 120)
    with contextlib.ExitStack() as stack:
        working = stack.enter_context(port.connect())
        working.sendall(b"GET /waits HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert port.began.acquire(timeout=30)
        silent = [stack.enter_context(port.connect()) for _ in range(160)]
        assert port.get("/page", "Host: localhost").endswith(b"the page"), (
            "a probe is answered while silent clients hold all places"
        )
        assert all(read_all(client) == b"" for client in silent[:40]), "they made room for the later ones"
        silent[-1].sendall(b"GET /page HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert read_all(silent[-1]).endswith(b"the page")
        port.loop.call_soon_threadsafe(port.finish.set)
        assert read_all(working).endswith(b"waited"), "a request that is handled is not disturbed"


def test_when_all_places_handle_requests_a_new_connection_is_closed(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 5)
    with contextlib.ExitStack() as stack:
        working = [stack.enter_context(port.connect()) for _ in range(5)]
        for client in working:
            client.sendall(b"GET /waits HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert port.began.acquire(timeout=30)
        assert port.get("/page", "Host: localhost") == b""
        port.loop.call_soon_threadsafe(port.finish.set)
        assert all(read_all(client).endswith(b"waited") for client in working)
        assert port.get("/page", "Host: localhost").endswith(b"the page"), "their places are free again"
