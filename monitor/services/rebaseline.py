"""Take confirmed data of the field into a model's reference: a new version, and audited."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from monitor.errors import NotFound, OptionInvalid
from monitor.services.context import Context
from monitor.services.register import Registration, register
from monitor.store.audit import Audit
from monitor.store.bundles import Bundles
from monitor.store.engine import reading
from monitor.store.routes import Routes
from reference_data.bundle import load
from reference_data.importing.rebaseline import Mode, Rebaselined, RebaselineRequest
from reference_data.importing.rebaseline import rebaseline as make
from reference_data.importing.request import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the owner of a model asks for."""

    name: str
    data: Path
    mode: Mode
    reason: str
    accept_shift: bool
    drill: bool
    serve: bool
    group_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it."""

    made: Rebaselined
    registration: Registration
    parent_version: str


def rebaseline(
    context: Context, wish: Wish, *, by: str, clock: Callable[[], datetime], progress: Progress
) -> Outcome:
    """Make, trust and record a new reference of the model that is served; serve it on request.

    Parameters
    ----------
    wish
        Which data, and how.
    by
        Recorded as the actor.

    Raises
    ------
    OptionInvalid
        If no reason is given.
    NotFound
        If the model is not routed.
    ImportRefused
        If the data do not make a reference; nothing is changed then.
    """
    if not wish.reason.strip():
        raise OptionInvalid("--reason", wish.reason, "say why, for whoever reads the audit trail")
    with reading(context.engine) as conn:
        route = Routes(conn).current().get(wish.name)
        if route is None:
            raise NotFound("model", wish.name, "`fieldwatch status` lists the models.")
        registered = Bundles(conn).trusted(route.bundle_sha)
    parent = load(Path(registered.path), expected_digest=registered.sha)
    made = make(
        RebaselineRequest(
            parent=parent,
            data=wish.data,
            mode=wish.mode,
            reason=wish.reason.strip(),
            by=by,
            at=clock(),
            group_by=wish.group_by,
            accept_shift=wish.accept_shift,
            drill=wish.drill,
        ),
        progress,
    )
    now = clock()
    record = made.bundle.manifest.rebaselined
    assert record is not None
    with context.engine.begin() as conn:
        detail = {
            "model": wish.name,
            "parent": parent.digest,
            "version": made.bundle.manifest.version,
            "mode": wish.mode,
            "rows": record.rows,
            "episodes": record.episodes,
            "reason": record.reason,
            "flagged_before": made.flagged_before,
            "flagged_after": made.flagged_after,
            "accepted_shift": record.accepted_shift,
        }
        Audit(conn).add(by, "bundle.rebaselined", f"bundle/{made.bundle.digest}", detail, now)
    registration = register(context.engine, made.bundle, serve=wish.serve, actor=by, now=now)
    return Outcome(made=made, registration=registration, parent_version=registered.version)
