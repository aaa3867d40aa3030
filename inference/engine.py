"""Micro-batching in front of the forward path, without idle delay.

A few threads per model run forward passes. Whenever one is free it takes everything that waits, up
to `max_batch`: a lone input is never held back for company, and under load batches form by
themselves. Images are decoded by a small pool beside it, so that decoding the next batch overlaps
with this one. How much may wait is bounded; what comes on top is turned away at once.
"""

import asyncio
import hashlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from inference.errors import Cause, InferenceError, ModelNotReady, Overloaded, ScoringFailed
from reference_data.preprocess import DecodeLimits
from reference_data.scoring import NonFinite, Prepared, Scored

log = logging.getLogger(__name__)

Tensor = npt.NDArray[np.float32]


class ForwardPath(Protocol):
    """What the engine runs; `reference_data.scoring.Scorer` is one."""

    def prepare(self, data: bytes, limits: DecodeLimits) -> Prepared:
        """Decode and transform one upload; raise `InputRejected` for one that cannot be served."""

    def score(
        self, tensors: Tensor, event_ids: Sequence[str], *, alone: bool
    ) -> Sequence[Scored | NonFinite]:
        """Predict and judge a batch, [n, channels, height, width]; `alone` when nothing waits."""


@dataclass(frozen=True, slots=True)
class Input:
    """One input to predict: an encoded image, or a tensor that was prepared by the client."""

    event_id: str
    source: bytes | Tensor


@dataclass(frozen=True, slots=True)
class Judged:
    """One input, predicted."""

    scored: Scored
    properties: dict[str, float]
    sha256: str
    """Of the bytes that came in."""


@dataclass(slots=True, eq=False)
class _Waiting:
    event_id: str
    tensor: Tensor
    properties: dict[str, float]
    sha256: str
    answer: "asyncio.Future[Judged]"


class Engine:
    """Answers inputs for one bundle. `submit` belongs to the event loop; the rest is threads."""

    def __init__(
        self,
        model: str,
        forward_path: ForwardPath,
        decoders: ThreadPoolExecutor,
        *,
        limits: DecodeLimits,
        max_batch: int,
        max_waiting: int,
        workers: int = 1,
        loop: asyncio.AbstractEventLoop,
        on_batch: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._model = model
        self._forward_path = forward_path
        self._decoders = decoders
        self._limits = limits
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._on_batch = on_batch
        self._loop = loop
        self._queue: deque[_Waiting] = deque()
        self._ready = threading.Condition()
        self._closing = False
        self._in_progress = 0
        self._passes = 0
        self._seconds_per_input = 0.01
        self._workers = [
            threading.Thread(target=self._work, name=f"forward-{model}-{number}", daemon=True)
            for number in range(workers)
        ]
        for worker in self._workers:
            worker.start()

    @property
    def waiting(self) -> int:
        """Inputs accepted and not answered yet."""
        return self._in_progress

    def admit(self, count: int) -> None:
        """Make sure that `count` more inputs may wait.

        Raises
        ------
        Overloaded
            They may not; nothing was accepted.
        ModelNotReady
            The engine is being closed.
        """
        if self._closing:
            raise ModelNotReady(self._model, "the gateway is shutting down. Send it elsewhere.")
        if self._in_progress and self._in_progress + count > self._max_waiting:
            seconds = self._in_progress * self._seconds_per_input
            raise Overloaded(self._in_progress, max(1, math.ceil(seconds)))

    async def submit(self, inputs: Sequence[Input]) -> list[Judged | Exception]:
        """Predict inputs; one that fails has its exception in its place and harms no other.

        Raises
        ------
        Overloaded
            Too much waits already; none was accepted.
        """
        self.admit(len(inputs))
        answers = [self._accept(each) for each in inputs]
        # Waiting for a task's own futures: should the task be cancelled, the inputs in a batch
        # beside others are still answered, to nobody.
        results = await asyncio.gather(*answers, return_exceptions=True)
        return [r if isinstance(r, Judged | Exception) else _lost(r) for r in results]

    def close(self) -> None:
        """Answer what waits, then stop; blocks for the last batches."""
        with self._ready:
            self._closing = True
            self._ready.notify_all()
        for worker in self._workers:
            worker.join()

    def _accept(self, each: Input) -> "asyncio.Future[Judged]":
        answer: asyncio.Future[Judged] = self._loop.create_future()
        self._in_progress += 1
        answer.add_done_callback(self._leave)
        self._decoders.submit(self._prepare, each, answer)
        return answer

    def _leave(self, _: object) -> None:
        self._in_progress -= 1

    def _prepare(self, each: Input, answer: "asyncio.Future[Judged]") -> None:
        if answer.cancelled():
            return
        try:
            if isinstance(each.source, bytes):
                prepared = self._forward_path.prepare(each.source, self._limits)
                tensor, properties = prepared.tensor, prepared.properties
                digest = hashlib.sha256(each.source).hexdigest()
            else:
                tensor, properties = each.source, {}
                digest = hashlib.sha256(tensor.tobytes()).hexdigest()
        except Exception as error:  # noqa: BLE001 - it is this input's answer
            self._answer([(answer, error)])
            return
        with self._ready:
            self._queue.append(_Waiting(each.event_id, tensor, properties, digest, answer))
            self._ready.notify()

    def _work(self) -> None:
        while True:
            with self._ready:
                while not self._queue and not (self._closing and not self._in_progress):
                    # Woken by an input or by closing; the timeout sees the last input leave.
                    self._ready.wait(0.05 if self._closing else None)
                if not self._queue:
                    return
                count = min(len(self._queue), self._max_batch)
                batch = [self._queue.popleft() for _ in range(count)]
                self._passes += 1
                # What is still being decoded will want a pass before this one is done.
                alone = self._passes == 1 and self._in_progress <= count
            start = time.perf_counter()
            try:
                self._answer(self._judge(batch, alone=alone))
            finally:
                with self._ready:
                    self._passes -= 1
            took = (time.perf_counter() - start) / len(batch)
            self._seconds_per_input += 0.1 * (took - self._seconds_per_input)
            self._on_batch(len(batch))

    def _judge(
        self, batch: list[_Waiting], *, alone: bool
    ) -> "list[tuple[asyncio.Future[Judged], Judged | Exception]]":
        try:
            scored = self._forward_path.score(
                np.stack([each.tensor for each in batch]),
                [each.event_id for each in batch],
                alone=alone,
            )
        except Exception as error:
            if len(batch) == 1:
                log.exception("the forward pass of %s failed", self._model)
                failure = ScoringFailed(Cause.SCORING_FAILED, f"the model failed: {error}")
                return [(batch[0].answer, failure)]
            # One of them may be to blame: each alone, so that the others are answered.
            return [pair for each in batch for pair in self._judge([each], alone=alone)]
        return [(each.answer, _judged(each, s)) for each, s in zip(batch, scored, strict=True)]

    def _answer(self, pairs: "Sequence[tuple[asyncio.Future[Judged], Judged | Exception]]") -> None:
        try:
            self._loop.call_soon_threadsafe(_resolve, pairs)
        except RuntimeError:  # the loop was closed first: nobody is left to answer
            log.warning("%d inputs were predicted after the gateway had closed", len(pairs))


def _judged(each: _Waiting, scored: Scored | NonFinite) -> Judged | InferenceError:
    if isinstance(scored, NonFinite):
        return ScoringFailed(
            Cause.NOT_FINITE,
            "the model's outputs for this input are not finite, so there is no prediction",
        )
    return Judged(scored, each.properties, each.sha256)


def _resolve(pairs: "Sequence[tuple[asyncio.Future[Judged], Judged | Exception]]") -> None:
    for answer, result in pairs:
        if answer.done():  # its request went away
            continue
        if isinstance(result, Exception):
            answer.set_exception(result)
        else:
            answer.set_result(result)


def _lost(error: BaseException) -> Exception:
    return ScoringFailed(Cause.INTERNAL, f"the input was dropped: {error!r}")
