"""Gauge a model's accuracy over a span of time: estimated without labels, measured with them.

Both are about the answers of one bundle, that of a version that is served now. The *estimate* takes
the first event of each episode, at most a few thousand of them, and is *unknown* with a reason
rather than wrong. What is *measured* takes every decision that stands: about an event, or about a
case, which is then about the case's last prediction in the span. A decision about an event goes
before one about its case. Where inclusion probabilities are recorded, decisions without one are
left out: nobody knows how they were chosen.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from monitor.domain import Window
from monitor.errors import (
    DocumentTooNew,
    DocumentUnreadable,
    FieldwatchError,
    NotFound,
    OptionInvalid,
)
from monitor.services.accuracy.estimate import EstimatedAccuracy, estimate_accuracy
from monitor.services.accuracy.measure import MeasuredAccuracy, measure_accuracy
from monitor.services.context import Context
from monitor.services.kill_switch import unserved
from monitor.store.accuracy_readings import AccuracyReadings, StoredReading
from monitor.store.bundles import Bundles
from monitor.store.decisions import Decisions
from monitor.store.engine import database_now, reading
from monitor.store.routes import Routes

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Estimated and measured accuracy of one bundle in one span."""

    format: int = FORMAT
    model: str
    version: str
    bundle_sha: str
    window: Window
    segment: str | None
    """As ``name=value``; None for all events."""
    estimated: EstimatedAccuracy
    measured: MeasuredAccuracy


def gauge(
    context: Context,
    model: str,
    window: Window,
    segment: tuple[str, str] | None = None,
    *,
    bundle_sha: str | None = None,
) -> Accuracy:
    """Estimate and measure the accuracy of a version of a model.

    Parameters
    ----------
    bundle_sha
        Digest of its bundle; the routed one when absent.

    Raises
    ------
    NotFound
        If no such model is served.
    """
    with reading(context.engine) as conn:
        routes = Routes(conn).current()
        if model not in routes:
            raise NotFound("model", model, unserved(sorted(routes)))
        registered = Bundles(conn).trusted(bundle_sha or routes[model].bundle_sha)
        decisions = Decisions(conn).all(model)
    return Accuracy(
        model=model,
        version=registered.version,
        bundle_sha=registered.sha,
        window=window,
        segment=None if segment is None else "=".join(segment),
        estimated=estimate_accuracy(context, registered, window, segment),
        measured=measure_accuracy(context, registered, window, segment, decisions),
    )


def read_segment(text: str | None) -> tuple[str, str] | None:
    """Read a segment written as ``name=value``.

    Raises
    ------
    OptionInvalid
        If it is written otherwise.
    """
    if text is None:
        return None
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise OptionInvalid("segment", text, "write it as name=value")
    return name, value


def gauge_all(context: Context) -> int:
    """Gauge every served version over the last hours and keep the findings; return how many.

    One that cannot be gauged keeps none of the others waiting; its fault is raised afterwards.
    """
    with reading(context.engine) as conn:
        now = database_now(conn)
        served = [
            (model, serving.bundle_sha)
            for model, snapshot in sorted(Routes(conn).current().items())
            for serving in snapshot.serving
        ]
    span = timedelta(hours=context.settings.monitor.accuracy_hours)
    faults: list[FieldwatchError] = []
    for model, sha in served:
        try:
            found = gauge(context, model, Window(start=now - span, end=now), bundle_sha=sha)
        except FieldwatchError as fault:
            faults.append(fault)
            continue
        with context.engine.begin() as conn:
            AccuracyReadings(conn).put(
                StoredReading(
                    model=model,
                    bundle_sha=found.bundle_sha,
                    reading=msgspec.json.encode(found).decode(),
                    computed_at=now,
                )
            )
    if faults:
        raise faults[0]
    return len(served)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyStatus:
    """The accuracy last found of a version, in short; None is unknown, and its reason beside it."""

    computed_at: datetime | None
    window: Window | None
    estimated: float | None
    estimated_low: float | None
    estimated_high: float | None
    estimated_reason: str | None
    measured: float | None
    measured_low: float | None
    measured_high: float | None
    measured_reason: str | None
    labelled: int
    """Predictions with a label."""


def summarise_accuracy(stored: StoredReading | None) -> AccuracyStatus:
    """Put the accuracy last found of a version in short."""
    if stored is None:
        reason = "the monitor has not gauged this version yet"
        return AccuracyStatus(
            computed_at=None,
            window=None,
            estimated=None,
            estimated_low=None,
            estimated_high=None,
            estimated_reason=reason,
            measured=None,
            measured_low=None,
            measured_high=None,
            measured_reason=reason,
            labelled=0,
        )
    found = read_accuracy(stored)
    overall = found.measured.overall
    return AccuracyStatus(
        computed_at=stored.computed_at,
        window=found.window,
        estimated=found.estimated.value,
        estimated_low=found.estimated.low,
        estimated_high=found.estimated.high,
        estimated_reason=found.estimated.reason,
        measured=None if overall is None else overall.value,
        measured_low=None if overall is None else overall.low,
        measured_high=None if overall is None else overall.high,
        measured_reason=found.measured.reason,
        labelled=0 if overall is None else overall.labels,
    )


def read_accuracy(stored: StoredReading) -> Accuracy:
    """Read what `gauge_all` kept.

    Raises
    ------
    DocumentTooNew
        If a newer Fieldwatch wrote it.
    DocumentUnreadable
        If it is not what it should be.
    """
    what = f"the accuracy of {stored.model}"
    try:
        found = msgspec.json.decode(stored.reading, type=dict[str, object]).get("format")
        if isinstance(found, int) and found > FORMAT:
            raise DocumentTooNew(what, found, FORMAT)
        return msgspec.json.decode(stored.reading, type=Accuracy)
    except msgspec.DecodeError as fault:
        raise DocumentUnreadable(what, str(fault)) from fault
