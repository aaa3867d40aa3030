"""Pages for people: the same services as the API, drawn."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, RedirectResponse

from monitor.services.context import Context
from monitor.services.explanations import explain
from monitor.services.explanations.explanation import EventExplanation, Explanation
from monitor.services.reports.show import latest_of
from monitor.services.trial.dossier import compile_dossier
from monitor.web.api import InContext
from monitor.web.rendering import POLICY, dossier_page, page_of

router = APIRouter(include_in_schema=False)

_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # A page is as secret as the key it was asked with.
    "Cache-Control": "private, no-store",
}


@router.get("/")
def start() -> RedirectResponse:
    """Where somebody lands who only knows the port: the manual lists every address."""
    return RedirectResponse("/docs")


@router.get("/alarms/{alarm_id}")
def alarm(context: InContext, alarm_id: str) -> HTMLResponse:
    """What changed behind an alarm."""
    return _page(context, explain.explain_alarm(context, alarm_id))


@router.get("/events/{event_id}")
def event(context: InContext, event_id: str) -> HTMLResponse:
    """What is unusual about an input."""
    return _page(context, explain.explain_event(context, event_id))


@router.get("/models/{model}/explanation")
def model(
    context: InContext,
    model: str,
    since: Annotated[datetime, Query(alias="from")],
    until: Annotated[datetime, Query(alias="to")],
) -> HTMLResponse:
    """What a model's inputs looked like in a stretch of time."""
    return _page(context, explain.explain_range(context, model, since, until))


@router.get("/rollouts/{name}/dossier")
def dossier(context: InContext, name: str, attempt: int | None = None) -> HTMLResponse:
    """The evidence for a go/no-go decision about a rollout."""
    found = compile_dossier(context, name, attempt=attempt)
    return HTMLResponse(dossier_page(context, found), headers=_HEADERS)


def _page(context: Context, found: Explanation | EventExplanation) -> HTMLResponse:
    # A link to a report that is not there would lead nowhere.
    linked = latest_of(context, found.model) is not None
    return HTMLResponse(page_of(context, found, console=linked), headers=_HEADERS)
