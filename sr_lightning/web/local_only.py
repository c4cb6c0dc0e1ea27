"""Middleware that answers only requests from this machine's own page: no other host name, no other origin."""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?")


class LocalOnly:
    """Refuses requests whose Host or Origin header is not this machine's own page.

    A domain that its owner points to 127.0.0.1 (DNS rebinding) would otherwise let a stranger's page read this one;
    even without that, a form on another page could send files to it.

    Args:
        app: The application to protect.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
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
