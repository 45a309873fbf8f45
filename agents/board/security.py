"""Protection of the board: security headers, and a check of the host name on loopback."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from ninezero.streams.settings import is_loopback

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


def guard(host: str) -> Any:
    """Returns a middleware that sets the security headers.

    If `host` is a loopback address, it also rejects requests with another host name. This prevents DNS rebinding: a foreign
    page whose name is made to resolve to this machine.
    """
    loopback = is_loopback(host)

    @web.middleware
    async def guarded(request: web.Request, handler: Any) -> web.StreamResponse:
        if loopback and not is_loopback(request.headers.get("Host", "")):
            return web.Response(
                status=421, text="ask for localhost: this address serves this machine only\n", headers=HEADERS
            )
        try:
            response: web.StreamResponse = await handler(request)
        except web.HTTPException as error:
            error.headers.update(HEADERS)
            raise
        response.headers.update(HEADERS)
        return response

    return guarded
