"""Answers only what the page of this machine asks: no other name of it, and no other page in the same browser."""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?")


class LocalOnly:
    """Middleware that refuses requests by the name that they call this machine by, and by the page they come from.

    A name that its owner lets point to 127.0.0.1 (DNS rebinding) would let a stranger's page read this one; a form on
    that page could send files to it without such a name.

    Args:
        app: Answers the rest.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] in ("http", "websocket") and (reason := _refusal(Headers(scope=scope))):
            await PlainTextResponse(f"{reason}\n", status_code=403)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _refusal(headers: Headers) -> str | None:
    hosts = [host.lower() for host in headers.getlist("host")]
    if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
        return "Host: allowed: localhost, 127.0.0.1 or [::1]: this page is for its own machine alone"
    if any(origin.lower().partition("://")[2] != hosts[0] for origin in headers.getlist("origin")):
        return "Origin: allowed: this page itself"
    return None
