"""TCP ports on 127.0.0.1."""

from __future__ import annotations

import contextlib
import errno
import random
import socket

from ninezero.streams.local_kafka.errors import BrokerError

LOWEST, HIGHEST = 20_000, 32_000
"""Range of `free_port`: below Linux's range for outgoing connections (`ip_local_port_range` begins at 32768). Otherwise a client
that reconnects while the broker is down could be given the broker's own port, and keep it."""


def check_port(port: int) -> None:
    """Checks that a server can listen on a port.

    Raises:
        BrokerError: the port is in use, or cannot be opened.
    """
    try:
        with socket.socket() as probe:
            # As Kafka does: connections of its former process that linger do not matter, a listener does.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            probe.listen()
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise BrokerError(
                f"port {port} is in use: stop the program that listens there, or choose another with ninezero kafka start --port PORT"
            ) from None
        raise BrokerError(f"port {port} cannot be opened: give one from 1024 to 65535") from None


def is_free(port: int) -> bool:
    """Returns whether nothing listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def free_port(but: int = 0) -> int:
    """Returns a random port that a server can listen on. It is not `but`, which another one is about to use."""
    while True:
        port = random.SystemRandom().randrange(LOWEST, HIGHEST)
        with contextlib.suppress(BrokerError):
            check_port(port)
            if port != but:
                return port
