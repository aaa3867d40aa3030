"""The series about routed models."""

from collections.abc import Iterator, Sequence

from prometheus_client.core import Metric

from monitor.domain import AlarmKind, Exclusion, Severity, Stage, Status
from monitor.metrics.families import add_bounds, gauge
from monitor.metrics.readings import ModelReading, VersionReading
from monitor.review.item import Why

ACCURACIES = ("estimated", "measured")


def model_series(
    readings: Sequence[ModelReading], versions: Sequence[VersionReading]
) -> Iterator[Metric]:
    """Give everything about every model; a series that is to be alerted on is there at 0."""
    yield from _alarms(versions)
    yield from _traffic(readings)
    yield from _windows(readings, versions)
    yield from _accuracy(versions)
    yield from _acting(readings)
    yield from _review(readings)
    yield from _reports(readings)


def _alarms(readings: Sequence[VersionReading]) -> Iterator[Metric]:
    open_ = gauge(
        "fieldwatch_alarm_open",
        "1 while an alarm of this kind stands open, else 0.",
        "model",
        "version",
        "kind",
        "severity",
    )
    began = gauge(
        "fieldwatch_alarm_began_timestamp_seconds",
        "Best guess of when what an open alarm tells of began; absent while none is open.",
        "model",
        "version",
        "kind",
    )
    for reading in readings:
        for kind in AlarmKind:
            for severity in (Severity.PAGE, Severity.TICKET):
                standing = severity in reading.open_alarms.get(kind, ())
                labels = [reading.model, reading.version, kind, severity]
                open_.add_metric(labels, float(standing))
        for kind, at in reading.began.items():
            began.add_metric([reading.model, reading.version, kind], at.timestamp())
    yield from (open_, began)


def _traffic(readings: Sequence[ModelReading]) -> Iterator[Metric]:
    ingested = gauge(
        "fieldwatch_events_ingested",
        "Events the detectors have taken in since the model was first served.",
        "model",
        "status",
    )
    excluded = gauge(
        "fieldwatch_observations_excluded",
        "Observations the detectors left out or did not trust in full.",
        "model",
        "cause",
    )
    last = gauge(
        "fieldwatch_last_event_timestamp_seconds",
        "When the latest event of a model happened.",
        "model",
    )
    silent = gauge(
        "fieldwatch_units_silent", "Units that sent events before and not lately.", "model"
    )
    for reading in readings:
        for status in Status:
            ingested.add_metric([reading.model, status], reading.ingested.get(status, 0))
        for cause in Exclusion:
            excluded.add_metric([reading.model, cause], reading.excluded.get(cause, 0))
        silent.add_metric([reading.model], reading.silent_units)
        if reading.last_event_at is not None:
            last.add_metric([reading.model], reading.last_event_at.timestamp())
    yield from (ingested, excluded, last, silent)


def _windows(
    readings: Sequence[ModelReading], versions: Sequence[VersionReading]
) -> Iterator[Metric]:
    share = gauge(
        "fieldwatch_window_flagged_share",
        "Share of inputs flagged in the last complete window: `low`, `estimate` and `high`.",
        "model",
        "version",
        "bound",
    )
    end = gauge(
        "fieldwatch_window_end_timestamp_seconds",
        "End of the last window that was summarised.",
        "model",
    )
    effect = gauge(
        "fieldwatch_window_effect_size",
        "How far the last window is from the reference, in the unit of its kind: `embedding` "
        "(MMD), `embedding_shape` and `class_embedding` (Fréchet distance, as a share of the "
        "reference's variance), `classes` and `segment` (share of episodes), `property`, "
        "`confidence`, `p_semantic` and `p_domain` (standard deviations). `subject` is a class, "
        "property or segment column of the bundle; `bound` is `estimate` or `low`, the end of the "
        "95 % interval. It explains, and never pages.",
        "model",
        "version",
        "kind",
        "subject",
        "bound",
    )
    differs = gauge(
        "fieldwatch_window_differs",
        "1 where the last window differs by more than chance, else 0.",
        "model",
        "version",
        "kind",
        "subject",
    )
    for reading in readings:
        if reading.window_end is not None:
            end.add_metric([reading.model], reading.window_end.timestamp())
    for version in versions:
        of = [version.model, version.version]
        if version.flagged_share is not None:
            add_bounds(share, of, version.flagged_share)
        for each in version.effects:
            what = [*of, each.kind, each.subject]
            effect.add_metric([*what, "estimate"], each.effect)
            if each.low is not None:
                effect.add_metric([*what, "low"], each.low)
            differs.add_metric(what, float(each.differs))
    yield from (share, end, effect, differs)


def _accuracy(readings: Sequence[VersionReading]) -> Iterator[Metric]:
    accuracy = gauge(
        "fieldwatch_accuracy",
        "Accuracy of a served version over the last hours; absent while it is unknown. `kind` is "
        "`estimated` (without labels) or `measured`, `bound` `low`, `estimate` or `high`.",
        "model",
        "version",
        "kind",
        "bound",
    )
    known = gauge(
        "fieldwatch_accuracy_known",
        "1 while this kind of accuracy can be stated, else 0: too few inputs, or outside what the "
        "estimator was shown to bear.",
        "model",
        "version",
        "kind",
    )
    for reading in readings:
        of = [reading.model, reading.version]
        for kind in ACCURACIES:
            known.add_metric([*of, kind], float(kind in reading.accuracy))
            if kind in reading.accuracy:
                add_bounds(accuracy, [*of, kind], reading.accuracy[kind])
    yield from (accuracy, known)


def _acting(readings: Sequence[ModelReading]) -> Iterator[Metric]:
    stage = gauge(
        "fieldwatch_rollout_stage",
        "1 for the stage a model is in, else 0; `observe` without a rollout.",
        "model",
        "stage",
    )
    share = gauge(
        "fieldwatch_rollout_share_ratio",
        "Share of units that are the model's, from 0 to 1; 0 in `limited`, where the scope names "
        "them.",
        "model",
    )
    killed = gauge(
        "fieldwatch_killed", "1 while a kill latch covers a served version, else 0.", "model"
    )
    limit = gauge(
        "fieldwatch_supervisor_limit_seconds",
        "Longest silence of a supervisor after which humans act; absent where none is asked for.",
        "model",
    )
    last = gauge(
        "fieldwatch_supervisor_last_seen_timestamp_seconds",
        "When a supervisor was last heard of; 0 while none ever was. Absent where none is asked "
        "for.",
        "model",
    )
    for reading in readings:
        for each in Stage:
            stage.add_metric([reading.model, each], float(reading.stage is each))
        share.add_metric([reading.model], reading.share)
        killed.add_metric([reading.model], float(reading.killed))
        if (asked := reading.supervision) is not None:
            limit.add_metric([reading.model], asked.limit_s)
            seen = 0.0 if asked.last is None else asked.last.timestamp()
            last.add_metric([reading.model], seen)
    yield from (stage, share, killed, limit, last)


def _review(readings: Sequence[ModelReading]) -> Iterator[Metric]:
    open_ = gauge(
        "fieldwatch_review_items", "Items of the review queue that are open.", "model", "reason"
    )
    oldest = gauge(
        "fieldwatch_review_oldest_timestamp_seconds",
        "When the oldest open item of the review queue was added; absent when none is open.",
        "model",
        "reason",
    )
    for reading in readings:
        for why in Why:
            waiting = reading.review.get(why)
            open_.add_metric([reading.model, why], 0 if waiting is None else waiting.open)
            if waiting is not None:
                oldest.add_metric([reading.model, why], waiting.oldest.timestamp())
    yield from (open_, oldest)


def _reports(readings: Sequence[ModelReading]) -> Iterator[Metric]:
    last = gauge(
        "fieldwatch_report_last_success_timestamp_seconds",
        "When the last scheduled report was made; 0 while none ever was. Absent where none are "
        "made.",
        "model",
    )
    every = gauge(
        "fieldwatch_report_interval_seconds",
        "How often a report is to be made. Absent where none are made.",
        "model",
    )
    for reading in readings:
        if reading.report_interval_s is not None:
            made = 0.0 if reading.report_at is None else reading.report_at.timestamp()
            last.add_metric([reading.model], made)
            every.add_metric([reading.model], reading.report_interval_s)
    yield from (last, every)
