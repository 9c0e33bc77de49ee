"""Refuses requests and sockets whose `Host` is not ours, before anything else looks at them."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from hogsend.rest.errors import error_response
from hogsend.serving.hosts import AllowedHosts
from hogsend.settings import Settings

MISDIRECTED = 421
POLICY_VIOLATION = 1008
# Asked by what runs the container, at an address that nobody wrote down; they say nothing of anybody.
EXEMPT = ("/v1/health", "/livez", "/readyz")


class HostCheck:
    """Answers 421 for a host that `AllowedHosts` does not have, over HTTP and WebSocket alike."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._hosts = AllowedHosts(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or self._passes(scope):
            await self.app(scope, receive, send)
        elif scope["type"] == "http" or "websocket.http.response" in scope.get("extensions", {}):
            refusal = error_response(
                MISDIRECTED, "This host is not served here; see HOGSEND_PUBLIC_URL and HOGSEND_ALLOWED_HOSTS"
            )
            await refusal(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": "Misdirected"})

    def _passes(self, scope: Scope) -> bool:
        if scope["type"] == "http" and scope["path"] in EXEMPT:
            return True
        given = Headers(scope=scope).getlist("host")
        return len(given) == 1 and self._hosts.allows(given[0])
