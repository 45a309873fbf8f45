"""Protection of every page: a list of the names under which it may be asked for, and security headers."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from typing import Any

from aiohttp import web

from ninezero.agents.roles.logs.error_description import describe
from ninezero.streams.settings import Settings, is_loopback

log = logging.getLogger("ninezero.http")

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?")
"""RFC 9110, section 7.2: a name, or an address that is in brackets if it is of IPv6, and a port."""

_REFUSED = "this page may not be asked for under this name: use an address of the worker, or add the name to its NINEZERO_HOSTS\n"


def guard(settings: Settings) -> Any:
    """Returns a middleware that sets the security headers and rejects requests for other host names.

    Accepted are loopback, the address at which the request arrived, the name in `NINEZERO_HTTP` and those of `NINEZERO_HOSTS`. A foreign
    page whose name is made to resolve to this machine can therefore read nothing (DNS rebinding). A page that fails is one line in the log.
    """
    names = {settings.http[0].lower(), *settings.hosts}
    refused_before = False

    @web.middleware
    async def guarded(request: web.Request, handler: Any) -> web.StreamResponse:
        nonlocal refused_before
        if not _is_allowed(request, names):
            if not refused_before:
                log.warning(
                    "a request for another host name was rejected: if it was yours, add its name to NINEZERO_HOSTS"
                )
                refused_before = True
            return web.Response(status=421, text=_REFUSED, headers=HEADERS)
        try:
            response: web.StreamResponse = await handler(request)
        except web.HTTPException as error:
            error.headers.update(HEADERS)
            raise
        except ConnectionError:  # the client has left
            raise
        except Exception as error:
            log.error("a page failed: %s", describe(error))  # a traceback would quote what the client has sent
            response = web.Response(status=500, text="the page failed: see the log of the worker\n")
        response.headers.update(HEADERS)
        return response

    return guarded


def _is_allowed(request: web.Request, names: Collection[str]) -> bool:
    given = request.headers.getall("Host", [])
    found = _HOST.fullmatch(given[0]) if len(given) == 1 else None
    if found is None or request.transport is None:
        return False
    name = found[1].strip("[]").lower()
    return is_loopback(name) or name in names or name == request.transport.get_extra_info("sockname")[0]
