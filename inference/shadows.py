"""The other bundle's prediction of an input that was answered: recorded afterwards, or dropped.

While a candidate is rolled out beside an incumbent, each case is answered by one of them. What the
other would have said is worth knowing, and worth no delay: one thread of the lowest priority works
through a short queue, and what comes when it is full is counted and forgotten.
"""

import contextlib
import hashlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec
import numpy as np
from uuid6 import uuid7

from inference.engine import Tensor
from inference.episodes import Episodes
from inference.models import Served
from inference.recorder import Outcome, Recorder
from inference.upload import Subject
from monitor.domain import Actor, Arm, Reason, Status
from monitor.rollouts.routing import Routing
from monitor.rollouts.snapshot import Snapshot
from monitor.store.event import Event
from reference_data.errors import InputRejected
from reference_data.preprocess import DecodeLimits
from reference_data.scoring import NonFinite, Scored

log = logging.getLogger(__name__)

MOST_WAITING = 64
MOST_WAITING_BYTES = 32 * 1024 * 1024


class ShadowFate(StrEnum):
    """What became of an input that the other bundle should see."""

    RECORDED = "recorded"
    DROPPED = "dropped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadowed:
    """An input that was answered, for the bundle that did not."""

    snapshot: Snapshot
    served: Served
    """The bundle that did not answer."""
    source: bytes | Tensor
    subject: Subject
    at: datetime
    routing: Routing
    """Of the answer."""
    payload_ref: str | None
    """The picture of the input, when one is kept."""


class Shadows:
    """Takes inputs from the request path, and sees the other prediction into the record."""

    def __init__(
        self,
        recorder: Recorder | None,
        limits: DecodeLimits,
        seal: Callable[[Event], Event],
    ) -> None:
        self._recorder = recorder
        self._limits = limits
        self._seal = seal
        self._episodes = Episodes()
        self._fates = dict.fromkeys(ShadowFate, 0)
        self._waiting: deque[Shadowed] = deque()
        self._bytes = 0
        self._ready = threading.Condition()
        self._closing = False
        self._complained_at = float("-inf")
        self._thread = threading.Thread(target=self._run, name="shadows", daemon=True)

    def start(self) -> None:
        """Begin to predict."""
        self._thread.start()

    def offer(self, shadowed: Shadowed) -> None:
        """Hand over an input that was answered. Returns at once and never raises."""
        size = _size(shadowed.source)
        with self._ready:
            full = len(self._waiting) >= MOST_WAITING or self._bytes + size > MOST_WAITING_BYTES
            if self._closing or full or self._recorder is None:
                self._fates[ShadowFate.DROPPED] += 1
                return
            self._waiting.append(shadowed)
            self._bytes += size
            self._ready.notify()

    def counts(self) -> dict[ShadowFate, int]:
        """Return inputs by fate since this process started."""
        return dict(self._fates)

    def close(self) -> None:
        """Finish the one under way; drop the rest."""
        with self._ready:
            self._closing = True
            self._fates[ShadowFate.DROPPED] += len(self._waiting)
            self._waiting.clear()
            self._ready.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        # Only this thread's: on Linux a thread has a priority of its own.
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        while (shadowed := self._next()) is not None:
            try:
                self._fates[self._see(shadowed)] += 1
            except Exception:
                self._fates[ShadowFate.FAILED] += 1
                if time.monotonic() - self._complained_at >= 10:
                    self._complained_at = time.monotonic()
                    log.exception("%s was not shadowed", shadowed.snapshot.model)

    def _next(self) -> Shadowed | None:
        with self._ready:
            while not self._waiting and not self._closing:
                self._ready.wait()
            if self._closing:
                return None
            shadowed = self._waiting.popleft()
            self._bytes -= _size(shadowed.source)
            return shadowed

    def _see(self, shadowed: Shadowed) -> ShadowFate:
        begun, event_id = time.perf_counter(), str(uuid7())
        path = shadowed.served.forward_path
        properties: dict[str, float] = {}
        try:
            if isinstance(shadowed.source, bytes):
                prepared = path.prepare(shadowed.source, self._limits)
                tensor, properties = prepared.tensor, prepared.properties
            else:
                tensor = shadowed.source
            # Not alone: a pass with every core would take them from those who are waited for.
            [scored] = path.score(tensor[np.newaxis], [event_id], alone=False)
        except InputRejected as refused:
            return self._put(shadowed, self._failed(shadowed, event_id, refused.cause.value))
        if isinstance(scored, NonFinite):
            return self._put(shadowed, self._failed(shadowed, event_id, "not_finite"))
        milliseconds = (time.perf_counter() - begun) * 1e3
        event = self._event(shadowed, event_id, scored, properties, milliseconds)
        return self._put(shadowed, event)

    def _put(self, shadowed: Shadowed, event: Event) -> ShadowFate:
        is_candidate = event.bundle_sha == shadowed.snapshot.bundle_sha
        if shadowed.snapshot.sealed and is_candidate and event.status is Status.OK:
            event = self._seal(event)
        assert self._recorder is not None
        outcome = self._recorder.put(event)
        if outcome is Outcome.ACCEPTED:
            return ShadowFate.RECORDED
        self._episodes.forget(_stream(shadowed), shadowed.subject.unit, event.event_id)
        return ShadowFate.DROPPED

    def _event(
        self,
        shadowed: Shadowed,
        event_id: str,
        scored: Scored,
        properties: dict[str, float],
        milliseconds: float,
    ) -> Event:
        episode = self._episodes.assign(
            _stream(shadowed),
            shadowed.subject.unit,
            event_id,
            shadowed.at,
            shadowed.snapshot.episode_gap_s,
        )
        return msgspec.structs.replace(
            _blank(shadowed, event_id, episode),
            status=Status.OK,
            cause=None,
            prediction=scored.prediction,
            confidence=scored.confidence,
            probabilities=scored.probabilities.tolist(),
            p_semantic=scored.p_semantic,
            p_domain=scored.p_domain,
            p_value=scored.p_value,
            flagged=scored.flagged,
            properties=properties,
            embedding=scored.embedding.astype(np.dtype("<f2"), copy=False).tobytes(),
            latency_ms=milliseconds,
        )

    def _failed(self, shadowed: Shadowed, event_id: str, cause: str) -> Event:
        return msgspec.structs.replace(_blank(shadowed, event_id, event_id), cause=cause)


def _blank(shadowed: Shadowed, event_id: str, episode: str) -> Event:
    """Write what is known before the bundle has said anything: that it acts on nothing."""
    routing, subject, bundle = shadowed.routing, shadowed.subject, shadowed.served.bundle
    return Event(
        event_id=event_id,
        writer="",
        seq=0,
        at=shadowed.at,
        model=shadowed.snapshot.model,
        version=bundle.manifest.version,
        bundle_sha=bundle.digest,
        case_id=subject.case_id,
        unit=subject.unit,
        episode_id=episode,
        segment=subject.segment,
        status=Status.ERROR,
        attempt=routing.attempt,
        stage=routing.stage,
        step=routing.step,
        epoch=routing.epoch,
        arm=Arm.SHADOW,
        bucket=routing.bucket,
        actor=Actor.HUMAN,
        reason=Reason.SHADOW,
        latency_ms=0.0,
        input_sha256=_digest(shadowed.source),
        payload_ref=shadowed.payload_ref,
    )


def _stream(shadowed: Shadowed) -> str:
    """Name whose episodes they are: those of the answers are counted elsewhere."""
    return f"{shadowed.snapshot.model}/{shadowed.served.bundle.digest}"


def _size(source: bytes | Tensor) -> int:
    return len(source) if isinstance(source, bytes) else source.nbytes


def _digest(source: bytes | Tensor) -> str:
    return hashlib.sha256(source if isinstance(source, bytes) else source.tobytes()).hexdigest()
