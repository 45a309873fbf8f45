"""The event loop of the workers."""

from __future__ import annotations

from typing import Any

import uvloop

SHUTDOWN_SECONDS = 1.0
"""How long the other side of a TLS connection may take to say goodbye: brokers often don't, and uvloop waits 30 s for it."""


class Loop(uvloop.Loop):
    """uvloop's, for which a closed TLS connection is closed: who stops a Kafka client waits for its connections to end."""

    async def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        """See `asyncio.loop.create_connection`."""
        if kwargs.get("ssl") and kwargs.get("ssl_shutdown_timeout") is None:
            kwargs["ssl_shutdown_timeout"] = SHUTDOWN_SECONDS
        return await super().create_connection(*args, **kwargs)
