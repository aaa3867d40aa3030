"""One request, from its inputs to a recorded answer.

First predict, then route, then write down, then answer. A request that cannot be predicted is
written down as well. Nothing here knows HTTP.
"""

import contextlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
import numpy as np
from uuid6 import uuid7

from inference.actions import Actions
from inference.answers import Failure
from inference.engine import Input, Judged, Tensor
from inference.episodes import Episodes
from inference.errors import Cause, ModelNotReady, Refused
from inference.metrics import Metrics
from inference.models import Models, Served
from inference.pictures import PictureKeeper
from inference.plan import PlanKeeper
from inference.recorder import Outcome, Recorder
from inference.shadows import Shadowed, Shadows
from inference.upload import Subject, shown
from monitor.domain import Actor, Reason, Stage, Status
from monitor.rollouts.routing import (
    Assignment,
    Case,
    Routing,
    Standing,
    answering,
    assign,
    is_counted,
    route,
)
from monitor.rollouts.seal import NONCE_BYTES, commit
from monitor.rollouts.snapshot import Snapshot
from monitor.store.event import UNKNOWN_MODEL, Event
from monitor.store.payloads import reference_of


@dataclass(frozen=True, slots=True)
class Target:
    """The model that answers a request."""

    snapshot: Snapshot
    served: Served
    other: Served | None = None
    """What else is served of the model: it sees the input after the answer."""

    @property
    def is_sealed(self) -> bool:
        """Whether what it predicts stays hidden until the human decision is in."""
        incumbent = self.snapshot.incumbent
        known = incumbent is not None and incumbent.bundle_sha == self.served.bundle.digest
        return self.snapshot.sealed and not known

    @property
    def version(self) -> str:
        """The version that answers: the served one, which may be older than the routed one."""
        return self.served.bundle.manifest.version


@dataclass(frozen=True, slots=True)
class Arrival:
    """When the last byte of a request came in."""

    at: datetime
    monotonic: float


@dataclass(frozen=True, slots=True)
class Predicted:
    """One input as it is answered."""

    event_id: str
    judged: Judged
    actor: Actor
    reason: Reason
    action: str | None
    commitment: str | None = None
    """Of a sealed prediction, which may not be shown."""


class Predicting:
    """Answers requests with what is served now, and records every answer."""

    def __init__(
        self,
        *,
        keeper: PlanKeeper,
        models: Models,
        recorder: Recorder | None,
        pictures: PictureKeeper,
        episodes: Episodes,
        actions: Actions,
        shadows: Shadows,
        metrics: Metrics,
        monotonic: Callable[[], float],
    ) -> None:
        self._keeper = keeper
        self._models = models
        self._recorder = recorder
        self.pictures = pictures
        """Keeps small pictures of what was answered."""
        self._episodes = episodes
        self.actions = actions
        """What it may still do today."""
        self.shadows = shadows
        """Sees into the record what the bundle that did not answer would have said."""
        self._metrics = metrics
        self._monotonic = monotonic

    def target(
        self, name: str | None, subject: Subject | None = None, at: datetime | None = None
    ) -> Target:
        """Find the model a request names, or the only one there is.

        Parameters
        ----------
        name
            As the request has it.
        subject, at
            Of a case: beside an incumbent they decide which of two bundles answers it. Without
            them it is the routed one.

        Raises
        ------
        Refused
            There is no such model, or none was named and there are several.
        ModelNotReady
            It is routed, and no bundle of it is served.
        """
        plan = self._keeper.plan
        routes = {} if plan is None else plan.routes
        known = ", ".join(sorted(routes)) or "none yet"
        if name is None:
            if len(routes) > 1:
                raise Refused(Cause.MISSING_FIELD, f"name the model; those served are {known}")
            name = next(iter(routes), None)
            if name is None:
                raise ModelNotReady("no model", self.why_no_route())
        snapshot = routes.get(name)
        if snapshot is None:
            raise Refused(
                Cause.UNKNOWN_MODEL, f"there is no model {shown(name)}; those served are {known}"
            )
        served = self._models.all_served(name)
        if not served:
            raise ModelNotReady(name, self._models.refusals.get(name, "it is being loaded."))
        wanted = snapshot.bundle_sha
        if subject is not None and at is not None:
            wanted = answering(snapshot, subject.unit, at)
        # Where the one wanted is not there the other answers, and routing lets a human act.
        first, *rest = sorted(served, key=lambda each: each.bundle.digest != wanted)
        planned = [each for each in rest if _is_planned(snapshot, each)]
        beside = planned[0] if planned and _is_planned(snapshot, first) else None
        return Target(snapshot, first, beside)

    def snapshot(self, name: str | None) -> Snapshot | None:
        """Find the route of a model that a request named; ``None`` when there is none."""
        plan = self._keeper.plan
        if plan is None:
            return None
        if name is None and len(plan.routes) == 1:
            return next(iter(plan.routes.values()))
        return None if name is None else plan.routes.get(name)

    def why_no_route(self) -> str:
        """Say why no model is routed."""
        if self._keeper.trouble is not None:
            return self._keeper.trouble
        return "none is routed yet. Import one with `fieldwatch import`."

    async def predict(
        self, target: Target, sources: "Sequence[bytes | Tensor]", subject: Subject, begun: Arrival
    ) -> list[Predicted]:
        """Predict, route and record.

        Raises
        ------
        Overloaded
            Too much waits already; nothing was recorded.
        InputRejected, ScoringFailed
            The first input that could not be predicted; of several, none was recorded.
        """
        inputs = [Input(str(uuid7()), source) for source in sources]
        results = await target.served.engine.submit(inputs)
        judged: list[Judged] = []
        for index, result in enumerate(results):
            if isinstance(result, Exception):
                if len(results) > 1:
                    result.args = (f"input {index}: {result}", *result.args[1:])
                raise result
            judged.append(result)
        return [
            self._record(target, each, result, subject, begun)
            for each, result in zip(inputs, judged, strict=True)
        ]

    def record_failure(
        self, model: str | None, subject: Subject, failure: Failure, begun: Arrival
    ) -> str:
        """Record a request without a prediction; return the event's id."""
        snapshot = self.snapshot(model)
        event_id = str(uuid7())
        name = UNKNOWN_MODEL if snapshot is None else snapshot.model
        gap = 0.0 if snapshot is None else snapshot.episode_gap_s
        episode = self._episodes.peek(name, subject.unit, event_id, begun.at, gap)
        served: Served | None = None
        assigned: Assignment | None = None
        if snapshot is not None:
            assigned = assign(snapshot, subject.unit, episode, begun.at)
            with contextlib.suppress(ModelNotReady):
                served = self.target(name, subject, begun.at).served
        event = Event(
            event_id=event_id,
            writer="",
            seq=0,
            at=begun.at,
            model=name,
            version=None if served is None else served.bundle.manifest.version,
            bundle_sha=None if served is None else served.bundle.digest,
            case_id=subject.case_id,
            unit=subject.unit,
            episode_id=episode,
            segment=subject.segment,
            status=Status.REJECTED if failure.is_rejection else Status.ERROR,
            cause=failure.cause.value,
            stage=None if snapshot is None else snapshot.stage,
            epoch=None if snapshot is None else snapshot.epoch,
            attempt=None if snapshot is None else snapshot.attempt,
            step=None if snapshot is None else snapshot.step,
            arm=None if assigned is None else assigned.arm,
            bucket=None if assigned is None else assigned.bucket,
            actor=Actor.HUMAN,
            reason=Reason.NOT_ANSWERED,
            latency_ms=(self._monotonic() - begun.monotonic) * 1e3,
        )
        if self._recorder is not None:
            self._recorder.put(event)
        if failure.is_rejection:
            self._metrics.rejection(name, failure.cause)
        return event_id

    def _route(self, target: Target, subject: Subject, case: Case) -> Routing:
        snapshot, keeper = target.snapshot, self._keeper
        return route(
            snapshot=snapshot,
            case=case,
            standing=Standing(
                killed=keeper.killed(snapshot.model, target.version, subject.unit),
                plan_age_s=keeper.age_s(),
                silent_s=keeper.silent_s(snapshot.model),
                unlooked_s=keeper.unlooked_s(),
                actions_left=self.actions.left(snapshot, case.at),
            ),
        )

    def _record(
        self,
        target: Target,
        each: Input,
        judged: Judged,
        subject: Subject,
        begun: Arrival,
    ) -> Predicted:
        snapshot, scored, event_id = target.snapshot, judged.scored, each.event_id
        episode = self._episodes.assign(
            snapshot.model, subject.unit, event_id, begun.at, snapshot.episode_gap_s
        )
        case = Case(
            unit=subject.unit,
            episode_id=episode,
            at=begun.at,
            bundle_sha=target.served.bundle.digest,
            prediction=scored.prediction,
            confidence=scored.confidence,
            flagged=scored.flagged,
        )
        routing = self._route(target, subject, case)
        event = Event(
            event_id=event_id,
            writer="",
            seq=0,
            at=begun.at,
            model=snapshot.model,
            version=target.version,
            bundle_sha=target.served.bundle.digest,
            case_id=subject.case_id,
            unit=subject.unit,
            episode_id=episode,
            segment=subject.segment,
            status=Status.OK,
            prediction=scored.prediction,
            confidence=scored.confidence,
            probabilities=scored.probabilities.tolist(),
            p_semantic=scored.p_semantic,
            p_domain=scored.p_domain,
            p_value=scored.p_value,
            flagged=scored.flagged,
            properties=judged.properties,
            embedding=scored.embedding.astype(np.dtype("<f2"), copy=False).tobytes(),
            attempt=routing.attempt,
            stage=routing.stage,
            step=routing.step,
            epoch=routing.epoch,
            arm=routing.arm,
            bucket=routing.bucket,
            actor=routing.actor,
            action=routing.action,
            reason=routing.reason,
            latency_ms=(self._monotonic() - begun.monotonic) * 1e3,
            input_sha256=judged.sha256,
            payload_ref=self._picture_of(target, each, scored.flagged, begun),
        )
        if target.is_sealed:
            event = seal(event)
        outcome = Outcome.LOST if self._recorder is None else self._recorder.put(event)
        if outcome is Outcome.LOST:
            self._episodes.forget(snapshot.model, subject.unit, event_id)
        # An action nobody could look up afterwards must not be taken.
        recorded = outcome is Outcome.ACCEPTED
        if recorded and event.payload_ref is not None and isinstance(each.source, bytes):
            mode = target.served.bundle.manifest.preprocessing.mode
            flagged = scored.flagged and not target.is_sealed
            self.pictures.offer(event.payload_ref, each.source, mode, flagged=flagged)
        if target.other is not None:
            self.shadows.offer(
                Shadowed(
                    snapshot=snapshot,
                    served=target.other,
                    source=each.source,
                    subject=subject,
                    at=begun.at,
                    routing=routing,
                    payload_ref=event.payload_ref if recorded else None,
                )
            )
        if recorded and is_counted(snapshot, routing):
            self.actions.spend(snapshot)
        predicted = Predicted(
            event_id,
            judged,
            routing.actor if recorded else Actor.HUMAN,
            routing.reason if recorded else Reason.NOT_RECORDED,
            routing.action if recorded else None,
            event.commitment,
        )
        self._metrics.prediction(
            snapshot.model,
            target.version,
            scored,
            stage=routing.stage,
            actor=predicted.actor,
            event_id=event_id,
            sealed=target.is_sealed,
        )
        self._metrics.routed(
            snapshot.model, routing.stage, routing.arm, predicted.actor, predicted.reason
        )
        if subject.unit is None and snapshot.stage is not Stage.OBSERVE:
            self._metrics.without_unit(snapshot.model)
        return predicted

    def _picture_of(self, target: Target, each: Input, flagged: bool, begun: Arrival) -> str | None:
        """Name the picture that will be kept of an input, if one will; a tensor is no picture."""
        rules = self.pictures.rules
        if target.is_sealed:
            # Whether there is a picture must not tell what the model said.
            wanted = rules.wants_sealed(each.event_id)
        else:
            wanted = rules.wants(each.event_id, flagged=flagged)
        if isinstance(each.source, bytes) and wanted:
            return reference_of(target.snapshot.model, begun.at, each.event_id)
        return None


def seal(event: Event) -> Event:
    """Bind a prediction by a commitment, with a nonce that nobody can guess."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return msgspec.structs.replace(
        event, nonce=nonce, commitment=commit(nonce, msgspec.structs.asdict(event))
    )


def _is_planned(snapshot: Snapshot, served: Served) -> bool:
    """Tell whether a plan names a bundle; one that waits to be replaced is named no more."""
    digest, incumbent = served.bundle.digest, snapshot.incumbent
    return digest == snapshot.bundle_sha or (
        incumbent is not None and digest == incumbent.bundle_sha
    )
