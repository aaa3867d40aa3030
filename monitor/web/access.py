"""Let requests in by their key. Health alone is open."""

import threading
import time

from anyio import sleep, to_thread
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from monitor.domain import Person, Role
from monitor.errors import AccessDenied, FieldwatchError
from monitor.services.context import Context
from monitor.store.authorization import parse_authorization
from monitor.store.engine import reading
from monitor.store.keys import KeyRing, Keys
from monitor.web.errors import respond

OPEN = frozenset({"/healthz", "/readyz"})
"""Paths that need no key."""
KEYS_LAST_S = 1.0
"""How long the keys read from the store are used: a revoked one works no longer than this."""
UNKNOWN_WAITS_S = 0.1
"""A key that is not among them may have been made since: it waits until they are read anew, which
happens no oftener than this, whatever is tried."""


def needed_role(method: str, path: str) -> Role:
    """Tell which role a request needs."""
    if path == "/v1/keys" or path.startswith("/v1/keys/"):
        return Role.ADMIN
    if method == "POST" and path in {"/v1/decisions", "/v1/alertmanager"}:
        return Role.SERVICE
    return Role.VIEWER if method in {"GET", "HEAD"} else Role.OPERATOR


class Access:
    """Outermost: nothing behind it sees a request without a good key."""

    def __init__(self, app: ASGIApp, context: Context) -> None:
        self._app = app
        self._context = context
        self._lock = threading.Lock()
        self._ring = KeyRing([])
        self._read_at = float("-inf")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its person, or answer it here."""
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        try:
            person = await self._admit(scope)
        except FieldwatchError as error:
            await respond(Request(scope), error)(scope, receive, send)
            return
        scope.setdefault("state", {})["person"] = person
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope) -> Person:
        needed = needed_role(scope["method"], scope["path"])
        token = parse_authorization(Headers(scope=scope))
        if token is None:
            raise AccessDenied(needed, None)
        person = (await to_thread.run_sync(self._keys, KEYS_LAST_S)).verify(token)
        if person is None:
            await sleep(UNKNOWN_WAITS_S)
            person = (await to_thread.run_sync(self._keys, UNKNOWN_WAITS_S)).verify(token)
        if person is None:
            raise AccessDenied(needed, None)
        if not person.role.may(needed):
            raise AccessDenied(needed, person.role)
        return person

    def _keys(self, last_s: float) -> KeyRing:
        """Give the keys as of at most so many seconds ago."""
        with self._lock:
            begun = time.monotonic()
            if begun - self._read_at >= last_s:
                with reading(self._context.engine) as conn:
                    self._ring = Keys(conn).all()
                self._read_at = begun
            return self._ring
