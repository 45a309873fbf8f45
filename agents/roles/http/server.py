"""The HTTP server of a role: metrics, health checks, and what a role adds to it."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, cast

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ninezero.agents.roles.http.connections import LimitedConnections, timed
from ninezero.agents.roles.http.guard import guard
from ninezero.agents.roles.role import Role
from ninezero.streams import clickhouse
from ninezero.streams.clickhouse import ClickHouseError
from ninezero.streams.clickhouse.threaded_connection import ThreadedConnection
from ninezero.streams.settings import Settings, SettingsError

MAX_STATEMENT_BYTES = 64 << 20
"""Largest request: a statement for the embedded database, with its rows."""

_SILENT = logging.Logger("aiohttp", logging.CRITICAL + 1)
"""aiohttp logs a traceback that quotes a malformed request. The client gets the answer 400; a page that fails is logged by the guard."""


async def serve(role: Role) -> None:
    """Serves /metrics, /healthz, /readyz and the routes of the role until the role stops.

    Raises:
        SettingsError: the port cannot be opened.
    """

    async def metrics_page(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def alive(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(_: web.Request) -> web.Response:
        why = role.why_not_ready()
        return web.Response(text="ready\n") if why is None else web.Response(status=503, text=f"not ready: {why}\n")

    pages = [web.get("/metrics", metrics_page), web.get("/healthz", alive), web.get("/readyz", ready), *role.routes]
    host, port = role.address
    try:
        role.at_stop(await listen(role.settings, pages, host, port))
    except OSError:
        raise SettingsError(
            f"NINEZERO_HTTP: port {port} cannot be opened: stop the process that uses it, or set NINEZERO_HTTP to other ports"
        ) from None


async def listen(
    settings: Settings, routes: Iterable[web.RouteDef], host: str, port: int
) -> Callable[[], Coroutine[Any, Any, None]]:
    """Serves pages under the guard and the limits of connections, and returns what stops it.

    Raises:
        OSError: the port cannot be opened.
    """
    application = web.Application(client_max_size=MAX_STATEMENT_BYTES, middlewares=[timed, guard(settings)])
    application.add_routes(routes)
    runner = web.AppRunner(application, access_log=None, logger=_SILENT)
    await runner.setup()
    handlers = cast(Callable[[], asyncio.Protocol], runner.server)
    try:
        server = await asyncio.get_running_loop().create_server(LimitedConnections(handlers), host, port)
    except OSError:
        await runner.cleanup()
        raise

    async def stop() -> None:
        server.close()
        await runner.cleanup()

    return stop


def offer_embedded_database(role: Role, connection: ThreadedConnection) -> None:
    """Lets other processes of this user read and write an embedded database, which only one process can open.

    They find the address and a secret in the folder of the database. Does nothing if ClickHouse is a server.
    """
    folder = clickhouse.embedded_folder(role.settings.clickhouse)
    if folder is None:
        return

    async def execute(sql: str) -> bytes:
        await connection.execute(sql)
        return b"null"

    host, port = role.address
    secret = secrets.token_hex(16)
    role.routes.append(web.post("/query", _statement_handler(secret, connection.read_embedded)))
    role.routes.append(web.post("/execute", _statement_handler(secret, execute)))
    clickhouse.write_address(folder, f"http://{host}:{port}", secret)


def _statement_handler(
    secret: str, run: Callable[[str], Awaitable[bytes]]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Returns a handler that runs the statement in the request, if it comes from this machine with the secret."""

    async def handle(request: web.Request) -> web.Response:
        local = request.transport is not None and request.remote == request.transport.get_extra_info("sockname")[0]
        given = request.headers.get("X-Ninezero-Secret", "")
        if not local or not secrets.compare_digest(given.encode(), secret.encode()):
            return web.Response(status=403, text="forbidden")
        try:
            return web.Response(body=await run(await request.text()), content_type="application/json")
        except ClickHouseError as error:
            return web.Response(status=400, text=str(error))

    return handle
