"""Alertmanager's side of the alarm list, over HTTP: its webhook, and what came of it."""

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query, Request

from monitor.domain import Alarm
from monitor.services.signals.acknowledge import (
    acknowledge_signal,
    withdraw,
    withdraw_signal,
)
from monitor.services.signals.listing import list_signals, list_silences, show_signal
from monitor.services.signals.receive import Received, receive
from monitor.store.signal import Signal
from monitor.store.silence import Silence
from monitor.web.api import Acknowledgement, By, InContext, Limit
from monitor.web.manual import describe

router = APIRouter(prefix="/v1", tags=["alarms"])

_PAYLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "object", "required": ["version", "alerts"]}}
        },
    }
}


@router.post("/alertmanager", openapi_extra=_PAYLOAD)
async def post_notification(context: InContext, request: Request) -> Received:
    """Take in a notification of Alertmanager's webhook (version 4).

    The same again, from it or another Alertmanager, to this or another monitor, changes nothing.
    """
    body = await request.body()
    return await to_thread.run_sync(receive, context, body)


@router.get("/signals")
def get_signals(
    context: InContext,
    model: str | None = None,
    everything: Annotated[bool, Query(alias="all", description="Resolved ones too.")] = False,
    linked: Annotated[bool, Query(description="Those that speak of an alarm too.")] = False,
    limit: Limit = 100,
) -> list[Signal]:
    """Alerts about Fieldwatch itself that Alertmanager told of, newest first."""
    return list_signals(context, model=model, everything=everything, linked=linked, limit=limit)


@router.get("/signals/{signal_id}")
def get_signal(context: InContext, signal_id: str) -> Signal:
    """One alert that Alertmanager told of."""
    return show_signal(context, signal_id)


@router.post("/signals/{signal_id}/acknowledge")
def post_acknowledgement(
    context: InContext, by: By, signal_id: str, given: Acknowledgement
) -> Signal:
    """Say that an alert was seen; Alertmanager, where configured, is silent about it then.

    Once more is no change; a resolved one is refused.
    """
    return acknowledge_signal(context, signal_id, by.name, given.reason, context.clock())


@router.post("/signals/{signal_id}/unacknowledge")
def post_withdrawal(context: InContext, by: By, signal_id: str, given: Acknowledgement) -> Signal:
    """Take the acknowledgement of an alert back, and end its silence."""
    return withdraw_signal(context, signal_id, by.name, given.reason, context.clock())


@router.post("/alarms/{alarm_id}/unacknowledge")
def post_alarm_withdrawal(
    context: InContext, by: By, alarm_id: str, given: Acknowledgement
) -> Alarm:
    """Take the acknowledgement of an alarm back, and end its silence; its streams go on."""
    return withdraw(context, alarm_id, by.name, given.reason, context.clock())


@router.get("/silences")
def get_silences(
    context: InContext,
    everything: Annotated[bool, Query(alias="all", description="Those that are over too.")] = False,
) -> list[Silence]:
    """Silences in Alertmanager that stand, are to be made or to be ended, newest first."""
    return list_silences(context, everything=everything)


describe(router)
