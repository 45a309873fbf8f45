"""Limits of the connections to a port, so that clients that are slow or many do not use up its files and memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web

MAX_CONNECTIONS = 256
"""Most open connections. A new one takes the place of the one that has waited longest without a request."""

HEADER_SECONDS = 10.0
"""Time for the first request to arrive with all its headers. aiohttp 3.14 has no such limit."""

REQUEST_SECONDS = 150.0
"""Time for a request to be answered: more than a process waits for the embedded database."""

IDLE_SECONDS = 60.0
"""Time after an answer in which the client must have received it and have asked again."""


class LimitedConnections:
    """Makes the protocol of each connection, as a server of asyncio asks for it.

    Args:
        handlers: makes the protocol that handles HTTP.
    """

    def __init__(self, handlers: Callable[[], asyncio.Protocol]) -> None:
        self._handlers = handlers
        self._waiting: dict[_Connection, None] = {}
        """Connections in which no request is handled, the longest waiting first."""
        self._busy: set[_Connection] = set()

    def __call__(self) -> asyncio.Protocol:
        """Returns the protocol of a new connection."""
        return _Connection(self, self._handlers())

    def add(self, connection: _Connection) -> None:
        """Adds a new connection. It is closed if there are too many that handle requests."""
        self.set_waiting(connection)
        if len(self._waiting) + len(self._busy) > MAX_CONNECTIONS:
            next(iter(self._waiting)).abort()

    def set_waiting(self, connection: _Connection) -> None:
        """Records that a connection handles no request."""
        self.remove(connection)
        self._waiting[connection] = None

    def set_busy(self, connection: _Connection) -> None:
        """Records that a connection handles a request."""
        self.remove(connection)
        self._busy.add(connection)

    def remove(self, connection: _Connection) -> None:
        """Forgets a connection."""
        self._waiting.pop(connection, None)
        self._busy.discard(connection)


class _Connection(asyncio.Protocol):
    """Passes everything on to the protocol that handles HTTP, and closes the connection when a time is over."""

    def __init__(self, all_connections: LimitedConnections, handler: asyncio.Protocol) -> None:
        self._all, self._handler = all_connections, handler
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._handler.connection_made(transport)
        self._close_after(HEADER_SECONDS)
        self._all.add(self)

    def data_received(self, data: bytes) -> None:
        self._handler.data_received(data)

    def eof_received(self) -> bool | None:
        return self._handler.eof_received()

    def pause_writing(self) -> None:
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._handler.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        self._handler.connection_lost(exc)

    def request_begins(self) -> None:
        """Is called when the headers of a request have arrived."""
        self._all.set_busy(self)
        self._close_after(REQUEST_SECONDS)

    def request_ends(self) -> None:
        """Is called when the answer is known, before it is sent."""
        self._all.set_waiting(self)
        self._close_after(IDLE_SECONDS)

    def abort(self) -> None:
        """Closes the connection without a word. The client may not read what is sent."""
        self._forget()
        self._transport.abort()

    def _close_after(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.abort)

    def _forget(self) -> None:
        self._all.remove(self)
        if self._timer is not None:
            self._timer.cancel()


@web.middleware
async def timed(request: web.Request, handler: Any) -> web.StreamResponse:
    """Tells the connection when a request begins and ends."""
    transport = request.transport
    connection = None if transport is None else transport.get_protocol()
    if transport is None or not isinstance(connection, _Connection):  # the client has left
        raise ConnectionResetError
    connection.request_begins()
    try:
        response: web.StreamResponse = await handler(request)
        return response
    finally:
        if not transport.is_closing():
            connection.request_ends()
