"""The event loop of the workers."""

from __future__ import annotations

from typing import Any

import uvloop

SHUTDOWN_SECONDS = 1.0
"""Time that a closed TLS connection waits for the peer's closing message. Kafka brokers often send none, and uvloop's default
is 30 s."""


class Loop(uvloop.Loop):
    """uvloop's loop with a short TLS shutdown: stopping a Kafka client waits until its connections are closed."""

    async def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Opens a connection as `asyncio.loop.create_connection` does."""
        if kwargs.get("ssl") and kwargs.get("ssl_shutdown_timeout") is None:
            kwargs["ssl_shutdown_timeout"] = SHUTDOWN_SECONDS
        return await super().create_connection(*args, **kwargs)
