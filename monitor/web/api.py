"""The monitor's API: each handler parses, calls one service and returns its result."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from monitor.domain import Alarm, Person, Role, Window
from monitor.errors import OptionInvalid
from monitor.rollouts.kill import KillLatch
from monitor.services import browse, key_desk, kill_switch, last_windows, status, windows
from monitor.services.accuracy import gauge
from monitor.services.acknowledge import acknowledge
from monitor.services.context import Context
from monitor.services.decisions import decide
from monitor.services.decisions.rows import LONGEST, Delivery
from monitor.services.drills import certificates
from monitor.services.explanations import explain
from monitor.services.explanations.explanation import EventExplanation, Explanation
from monitor.services.rollouts.signers import signer_of
from monitor.services.streams import budget
from monitor.services.streams.affected import AffectedStream, list_affected
from monitor.services.streams.reading import StreamStatus
from monitor.store.audit import AuditEntry
from monitor.web.manual import describe

router = APIRouter(prefix="/v1")


def context_of(request: Request) -> Context:
    """Give the process's context."""
    context: Context = request.app.state.context
    return context


def person_of(request: Request) -> Person:
    """Give the person whose key the request carries."""
    person: Person = request.state.person
    return person


InContext = Annotated[Context, Depends(context_of)]
By = Annotated[Person, Depends(person_of)]
Limit = Annotated[int, Query(ge=1, le=1_000, description="Most to list.")]


class NewKey(BaseModel):
    """A key to make."""

    model_config = ConfigDict(extra="forbid")

    person: str = Field(min_length=1, max_length=200)
    role: Role


class MadeKey(BaseModel):
    """A key that was made, shown this once."""

    person: str
    role: Role
    key: str


class Acknowledgement(BaseModel):
    """Why an alarm's streams may begin again."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=2_000)


class KillChange(BaseModel):
    """A latch to arm or release."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(default=None, max_length=200, description="All models when absent.")
    site: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="A unit, as requests name it: no model acts there. Then without a model.",
    )
    reason: str = Field(min_length=1, max_length=2_000)


class KillAnswer(BaseModel):
    """What came of it."""

    armed: bool
    changed: bool


class GivenDecision(BaseModel):
    """What a human decided about one event or one case."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(default=None, max_length=LONGEST, description="Else the only one.")
    event_id: str | None = Field(default=None, max_length=LONGEST)
    case_id: str | None = Field(default=None, max_length=LONGEST)
    label: str = Field(min_length=1, max_length=LONGEST)
    decided_by: str | None = Field(
        default=None,
        max_length=LONGEST,
        description="Heeded from a key of the role service, which speaks for a process of yours; "
        "any other key decides in its own person's name.",
    )
    decided_at: datetime | None = Field(default=None, description="With a zone; now when absent.")
    source: str | None = Field(default=None, max_length=LONGEST)
    inclusion_probability: float | None = Field(
        default=None, gt=0, le=1, description="Chance with which it was drawn for labelling."
    )
    idempotency_key: str | None = Field(default=None, max_length=LONGEST)


class GivenDecisions(BaseModel):
    """Decisions to record."""

    model_config = ConfigDict(extra="forbid")

    decisions: list[GivenDecision] = Field(min_length=1, max_length=1_000)


@router.get("/status", tags=["state"])
def get_status(context: InContext) -> status.InstallationStatus:
    """Everything at once: models, traffic, evidence, alarms, gateways."""
    return status.look(context)


@router.get("/models", tags=["state"])
def get_models(context: InContext) -> list[status.ModelStatus]:
    """The served versions of each model: in a rollout the candidate, then the incumbent."""
    return list(status.look(context).models)


@router.get("/models/{model}/accuracy", tags=["state"])
def get_accuracy(
    context: InContext,
    model: str,
    start: Annotated[datetime | None, Query(alias="from", description="A day ago.")] = None,
    end: Annotated[datetime | None, Query(alias="to", description="Now.")] = None,
    segment: Annotated[str | None, Query(description="As name=value.")] = None,
) -> gauge.Accuracy:
    """Estimated and measured accuracy of a model's routed version; null where unknown."""
    until = end or context.clock()
    since = start or until - timedelta(days=1)
    for name, at in (("from", since), ("to", until)):
        if at.utcoffset() is None:
            raise OptionInvalid(name, str(at), "add a time zone, Z for UTC")
    if since >= until:
        raise OptionInvalid("from", str(since), f"it must lie before {until}")
    window = Window(start=since, end=until)
    return gauge.gauge(context, model, window, gauge.read_segment(segment))


@router.get("/models/{model}/certificate", tags=["state"])
def get_certificate(context: InContext, model: str) -> certificates.ModelCertificate:
    """What a model's last drill found, and whether its alarms may page."""
    return certificates.look_up(context, model)


@router.get("/streams", tags=["state"])
def get_streams(context: InContext, model: str | None = None) -> dict[str, list[StreamStatus]]:
    """The stream detectors of each model, of every version that is served."""
    found: dict[str, list[StreamStatus]] = {}
    for each in status.look(context, model).models:
        found.setdefault(each.model, []).extend(each.streams)
    return found


@router.get("/alarms", tags=["alarms"])
def get_alarms(
    context: InContext,
    model: str | None = None,
    everything: Annotated[bool, Query(alias="all", description="Resolved ones too.")] = False,
    limit: Limit = 100,
) -> list[Alarm]:
    """Alarms, newest first."""
    return browse.list_alarms(context, model=model, everything=everything, limit=limit)


@router.get("/alarms/{alarm_id}", tags=["alarms"])
def get_alarm(context: InContext, alarm_id: str) -> Alarm:
    """One alarm with its evidence."""
    return browse.show_alarm(context, alarm_id)


@router.get("/alarms/{alarm_id}/explanation", tags=["alarms"])
def get_alarm_explanation(context: InContext, alarm_id: str) -> Explanation:
    """What changed behind an alarm; `/alarms/{id}` draws it."""
    return explain.explain_alarm(context, alarm_id)


@router.get("/models/{model}/explanation", tags=["state"])
def get_model_explanation(
    context: InContext,
    model: str,
    since: Annotated[datetime, Query(alias="from", description="With a time zone.")],
    until: Annotated[datetime, Query(alias="to", description="With a time zone.")],
) -> Explanation:
    """How a model's inputs of a stretch of time differ; `/models/{m}/explanation` draws it."""
    return explain.explain_range(context, model, since, until)


@router.post("/alarms/{alarm_id}/acknowledge", tags=["alarms"])
def post_acknowledgement(
    context: InContext, by: By, alarm_id: str, given: Acknowledgement
) -> Alarm:
    """Say that an open alarm was seen: its streams begin again from nothing.

    The alarm stays open and resolves as before. Once more is no change; a resolved one is refused.
    """
    return acknowledge(context, alarm_id, by.name, given.reason, context.clock())


@router.get("/affected", tags=["alarms"])
def get_affected(context: InContext) -> list[AffectedStream]:
    """Streams and segments whose traffic has changed; a list, which opens no alarm."""
    return list_affected(context)


@router.get("/budget", tags=["state"])
def get_budget(
    context: InContext,
    history: Annotated[int, Query(ge=0, le=10_000, description="Lines of the ledger.")] = 50,
) -> budget.BudgetStatus:
    """How the one false-alarm budget of the installation is divided among streams, and spent."""
    return budget.look(context, history=history)


@router.get("/events", tags=["events"])
def get_events(
    context: InContext,
    model: str | None = None,
    flagged: bool = False,
    rejected: bool = False,
    limit: Limit = 50,
) -> list[browse.ListedEvent]:
    """The newest events, newest first."""
    return browse.recent_events(
        context, model=model, flagged=flagged, rejected=rejected, limit=limit
    )


@router.get("/events/{event_id}", tags=["events"])
def get_event(context: InContext, event_id: str) -> browse.ShownEvent:
    """One event beside the training items it most resembles."""
    return browse.show_event(context, event_id)


@router.get("/events/{event_id}/explanation", tags=["events"])
def get_event_explanation(context: InContext, event_id: str) -> EventExplanation:
    """What is unusual about an event; `/events/{id}` draws it."""
    return explain.explain_event(context, event_id)


@router.get("/events/{event_id}/picture", tags=["events"], response_class=Response)
def get_picture(context: InContext, event_id: str) -> Response:
    """The small picture of an event, where one was kept: a JPEG."""
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-store"}
    return Response(browse.picture(context, event_id), media_type="image/jpeg", headers=headers)


@router.get("/windows", tags=["events"])
def get_windows(
    context: InContext,
    model: str,
    hours: Annotated[float, Query(gt=0, le=744, description="How far back.")] = 24.0,
) -> list[last_windows.WindowStatus]:
    """The summarised windows of a model, oldest first."""
    return last_windows.recent_windows(context, model, timedelta(hours=hours))


@router.post("/decisions", tags=["decisions"])
def post_decisions(context: InContext, by: By, given: GivenDecisions) -> decide.DecisionReport:
    """Record what humans decided; sending it again changes nothing."""
    delivery = Delivery(model=None, decided_by=by.name, source="api", recorded_by=by.name)
    left_out = set() if by.role is Role.SERVICE else {"decided_by"}
    rows = enumerate(
        (each.model_dump(exclude_none=True, exclude=left_out) for each in given.decisions), start=1
    )
    return decide.decide(context, rows, delivery, context.clock())


@router.get("/models/{model}/windows/test", tags=["events"])
def get_window_test(
    context: InContext,
    model: str,
    start: Annotated[
        AwareDatetime | None, Query(alias="from", description="By default a day before `to`.")
    ] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to", description="By default now.")] = None,
    segment: Annotated[str, Query(max_length=400, description="column=value")] = "",
) -> windows.WindowReport:
    """Compare a range of the record with the reference: what differs, and by how much."""
    return windows.compare(context, model, start=start, end=end, segment=segment)


@router.get("/audit", tags=["state"])
def get_audit(
    context: InContext,
    target: Annotated[
        str | None, Query(max_length=500, description="Such as model/bears or bundle/<digest>.")
    ] = None,
    limit: Limit = 50,
) -> list[AuditEntry]:
    """Who did what to what, newest first."""
    return browse.audit_trail(context, target=target, limit=limit)


@router.get("/keys", tags=["keys"])
def get_keys(context: InContext) -> list[key_desk.KeyListing]:
    """All keys, never their secrets."""
    return key_desk.listed(context.engine)


@router.post("/keys", tags=["keys"], status_code=201)
def post_key(context: InContext, by: By, wanted: NewKey) -> MadeKey:
    """Make a key; it is shown once."""
    key = key_desk.create(context.engine, wanted.person, wanted.role, by.name, context.clock())
    return MadeKey(person=wanted.person, role=wanted.role, key=key)


@router.delete("/keys/{key_id}", tags=["keys"], status_code=204)
def delete_key(context: InContext, by: By, key_id: str) -> None:
    """Make a key worthless."""
    key_desk.revoke(context.engine, key_id, by.name, context.clock())


@router.get("/kill", tags=["kill"])
def get_latches(context: InContext) -> list[KillLatch]:
    """The armed kill latches."""
    return kill_switch.armed(context.engine)


@router.post("/kill/arm", tags=["kill"])
def arm(context: InContext, by: By, change: KillChange) -> KillAnswer:
    """Let humans act at once."""
    changed = kill_switch.arm(
        context.engine, change.model, by.name, change.reason, context.clock(), site=change.site
    )
    return KillAnswer(armed=True, changed=changed)


@router.post("/kill/release", tags=["kill"])
def release(context: InContext, by: By, change: KillChange) -> KillAnswer:
    """Release a latch: somebody else does than armed it, and rollouts stay on hold."""
    changed = kill_switch.release(
        context, change.model, signer_of(by), change.reason, context.clock(), site=change.site
    )
    return KillAnswer(armed=False, changed=changed)


describe(router)
