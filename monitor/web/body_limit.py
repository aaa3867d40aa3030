"""Bounds what a request may carry, before anything of it is parsed."""

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.errors import BodyTooLarge
from monitor.web.errors import respond

MOST_BYTES = 4 * 1024 * 1024
"""A thousand decisions, the largest thing anybody sends, take less."""


class BodyLimit:
    """Answers 413 to a body that says it is too large, or turns out to be."""

    def __init__(self, app: ASGIApp, most_bytes: int = MOST_BYTES) -> None:
        self._app = app
        self._most = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its whole body, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received: list[Message] = []
        declared, held = _declared(scope), 0
        # Held back whole: once the application has begun to answer, it is too late to refuse.
        more = True
        while more and max(declared, held) <= self._most:
            message = await receive()
            received.append(message)
            held += len(message.get("body", b""))
            more = message["type"] == "http.request" and message.get("more_body", False)
        if max(declared, held) > self._most:
            await respond(Request(scope), BodyTooLarge(self._most))(scope, receive, send)
            return

        async def again() -> Message:
            return received.pop(0) if received else await receive()

        await self._app(scope, again, send)


def _declared(scope: Scope) -> int:
    """Read how many bytes a request says it has; 0 when it does not say."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:20])
    return 0
