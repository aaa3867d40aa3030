"""Lets requests in by their key. Health alone is open."""

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from inference.answers import failure_of, refusal, turned_away
from inference.context import Context
from inference.errors import ModelNotReady
from monitor.domain import Role
from monitor.errors import AccessDenied
from monitor.store.authorization import parse_authorization

OPEN = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
"""Paths that need no key."""


def needed_role(method: str) -> Role:
    """Return the role a request needs: reading is for viewers, everything else for services."""
    return Role.VIEWER if method in {"GET", "HEAD"} else Role.SERVICE


class Access:
    """Outermost: nothing behind it sees a request without a good key."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it here."""
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        context: Context = scope["app"].state.context
        plan = context.keeper.plan
        if plan is None:
            # The keys were never read: nobody can be told apart.
            sentence = context.keeper.trouble or "the plan was not read yet."
            failure = failure_of(ModelNotReady("the gateway", sentence))
            await refusal(failure, None)(scope, receive, send)
            return
        token = parse_authorization(Headers(scope=scope))
        person = None if token is None else plan.keys.verify(token)
        needed = needed_role(scope["method"])
        if person is not None and person.role.may(needed):
            await self._app(scope, receive, send)
            return
        status = HTTPStatus.UNAUTHORIZED if person is None else HTTPStatus.FORBIDDEN
        context.metrics.unauthorized(status)
        denied = AccessDenied(needed.value, None if person is None else person.role.value)
        await turned_away(status, str(denied))(scope, receive, send)
