"""A TCP link that can be slow, silent or cut, and that can lose a reply."""

from __future__ import annotations

import contextlib
import multiprocessing
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing.managers import BaseManager, NamespaceProxy
from typing import Any


class Link:
    """Forwards 127.0.0.1:`port` to a server. A fault affects every connection, open ones too."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._server = host, port
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.seconds_per_packet = 0.0
        self.silent = False
        """Whether to receive data and pass nothing on, in both directions, without closing a connection."""
        self.refuses = False
        self.replies_lost = 0
        self._lose = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_reply(self) -> None:
        """Loses the next reply to an insert, and the connection with it."""
        self._lose.set()

    def cut(self) -> None:
        """Ends every open connection."""
        with self._lock:
            ends, self._open = self._open, set()
        for end in ends:
            _end(end)

    def heal(self) -> None:
        """Ends all faults. Connections whose data was dropped are closed."""
        was_silent, self.silent, self.refuses, self.seconds_per_packet = self.silent, False, False, 0.0
        self._lose.clear()
        if was_silent:
            self.cut()

    def close(self) -> None:
        """Closes the link and its connections."""
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuses:
                client.close()
                continue
            try:
                server = socket.create_connection(self._server, 5)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._open |= {client, server}
            sent = [0]
            threading.Thread(target=self._pass_on, args=(client, server, sent, False), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(server, client, sent, True), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, sent: list[int], reply: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if self.seconds_per_packet:
                    time.sleep(self.seconds_per_packet)
                if self.silent:
                    continue
                if not reply:
                    sent[0] += len(data)
                elif self._lose.is_set() and sent[0] > LARGE and data.endswith(END_OF_STREAM):
                    self._lose.clear()
                    self.replies_lost += 1
                    break
                if reply and data.endswith(END_OF_STREAM):
                    sent[0] = 0
                target.sendall(data)
        for end in (source, target):
            _end(end)
            with self._lock:
                self._open.discard(end)


class _RemoteLink(NamespaceProxy):
    """A link in a process of its own. Its attributes are read and set as those of a `Link`."""

    _exposed_ = ("__getattribute__", "__setattr__", "lose_reply", "cut", "heal", "close")

    def lose_reply(self) -> None:
        self._callmethod("lose_reply")

    def cut(self) -> None:
        self._callmethod("cut")

    def heal(self) -> None:
        self._callmethod("heal")

    def close(self) -> None:
        self._callmethod("close")


class _Links(BaseManager):
    """The process of a link. `link` makes it, given the port of the server; `register` sets it."""

    link: Callable[[int], Any]


_Links.register("link", Link, _RemoteLink)


class SeparateLink:
    """A link in a process of its own, so that a test that computes does not slow the connections down.

    Attributes:
        link: the link, used as a `Link`.
    """

    def __init__(self, port: int) -> None:
        self._process = _Links(ctx=multiprocessing.get_context("spawn"))
        self._process.start()
        self.link: Any = self._process.link(port)

    def close(self) -> None:
        """Closes the link and ends its process."""
        self.link.close()
        self._process.shutdown()


LARGE = 1500
"""A request with more bytes than this is an insert, not a query."""

END_OF_STREAM = b"\x05"
"""The packet with which ClickHouse ends a reply: the insert is done. It has sent profile events before."""


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
