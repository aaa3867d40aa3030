"""The engine: batches without delay, bounded, and one bad input harms no other."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from inference.engine import Engine, Input, Judged, Tensor
from inference.errors import Cause, ModelNotReady, Overloaded, ScoringFailed
from reference_data.errors import InputRejected, RejectionCause
from reference_data.preprocess import DecodeLimits
from reference_data.scoring import NonFinite, Prepared, Scored


class Scripted:
    """A forward path whose inputs say what shall happen to them."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def prepare(self, data: bytes, limits: DecodeLimits) -> Prepared:
        if data == b"bad":
            raise InputRejected(RejectionCause.NOT_AN_IMAGE, "not an image")
        code = {b"poison": 1.0, b"nan": 2.0}.get(data, 0.0)
        return Prepared(
            tensor=np.full((1, 2, 2), code, np.float32), properties={"bytes": len(data)}
        )

    def score(
        self, tensors: Tensor, event_ids: Sequence[str], *, alone: bool
    ) -> Sequence[Scored | NonFinite]:
        self.go_on.wait(10)
        self.batches.append(list(event_ids))
        codes = tensors[:, 0, 0, 0]
        if (codes == 1).any():
            raise RuntimeError("poisoned")
        return [
            NonFinite() if code == 2 else scored(name)
            for code, name in zip(codes, event_ids, strict=True)
        ]


def scored(name: str) -> Scored:
    return Scored(
        prediction=name,
        confidence=1.0,
        probabilities=np.ones(1, np.float32),
        p_semantic=0.5,
        p_domain=0.5,
        p_value=1.0,
        flagged=False,
        embedding=np.zeros(2, np.float16),
    )


@pytest.fixture
def decoders() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def with_engine(
    decoders: ThreadPoolExecutor,
    path: Scripted,
    use: Callable[[Engine], Coroutine[Any, Any, None]],
    *,
    max_batch: int = 8,
    max_waiting: int = 100,
) -> None:
    async def run() -> None:
        engine = Engine(
            "m",
            path,
            decoders,
            limits=DecodeLimits(),
            max_batch=max_batch,
            max_waiting=max_waiting,
            loop=asyncio.get_running_loop(),
        )
        try:
            await use(engine)
        finally:
            path.go_on.set()
            await asyncio.to_thread(engine.close)

    asyncio.run(run())


def inputs(*sources: bytes) -> list[Input]:
    return [Input(f"e{index}", source) for index, source in enumerate(sources)]


def test_what_waits_is_taken_together_up_to_the_largest_batch(decoders: ThreadPoolExecutor) -> None:
    path = Scripted()

    async def use(engine: Engine) -> None:
        path.go_on.clear()
        first = asyncio.create_task(engine.submit(inputs(b"x")))
        await asyncio.sleep(0.05)
        rest = asyncio.create_task(engine.submit(inputs(*[b"x"] * 6)))
        await asyncio.sleep(0.05)
        assert engine.waiting == 7
        path.go_on.set()
        assert len(await first) == 1
        assert [r.scored.prediction for r in await rest if isinstance(r, Judged)] == [
            f"e{n}" for n in range(6)
        ]
        assert engine.waiting == 0

    with_engine(decoders, path, use, max_batch=4)
    assert [len(batch) for batch in path.batches] == [1, 4, 2]


def test_one_poisoned_input_fails_alone(decoders: ThreadPoolExecutor) -> None:
    path = Scripted()

    async def use(engine: Engine) -> None:
        path.go_on.clear()
        ahead = asyncio.create_task(engine.submit(inputs(b"x")))
        await asyncio.sleep(0.02)
        task = asyncio.create_task(engine.submit(inputs(b"x", b"poison", b"nan", b"bad", b"y")))
        await asyncio.sleep(0.02)
        path.go_on.set()
        good, poisoned, undefined, bad, also_good = await task
        await ahead
        assert isinstance(good, Judged)
        assert isinstance(also_good, Judged)
        assert isinstance(poisoned, ScoringFailed)
        assert poisoned.cause is Cause.SCORING_FAILED
        assert isinstance(undefined, ScoringFailed)
        assert undefined.cause is Cause.NOT_FINITE
        assert isinstance(bad, InputRejected)

    with_engine(decoders, path, use)


def test_more_than_may_wait_is_turned_away_with_a_time(decoders: ThreadPoolExecutor) -> None:
    path = Scripted()

    async def use(engine: Engine) -> None:
        path.go_on.clear()
        waiting = asyncio.create_task(engine.submit(inputs(*[b"x"] * 5)))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as caught:
            await engine.submit(inputs(b"x"))
        assert caught.value.retry_after_s >= 1
        path.go_on.set()
        assert len(await waiting) == 5
        assert len(await engine.submit(inputs(b"x"))) == 1

    with_engine(decoders, path, use, max_waiting=5)


def test_a_request_that_goes_away_harms_no_batch(decoders: ThreadPoolExecutor) -> None:
    path = Scripted()

    async def use(engine: Engine) -> None:
        path.go_on.clear()
        leaving = asyncio.create_task(engine.submit(inputs(b"x")))
        staying = asyncio.create_task(engine.submit([Input("stays", b"x")]))
        await asyncio.sleep(0.05)
        leaving.cancel()
        await asyncio.sleep(0.01)
        path.go_on.set()
        [result] = await staying
        assert isinstance(result, Judged)
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert engine.waiting == 0

    with_engine(decoders, path, use)


def test_closing_answers_what_waits_and_takes_nothing_new(decoders: ThreadPoolExecutor) -> None:
    path = Scripted()

    async def use(engine: Engine) -> None:
        path.go_on.clear()
        waiting = asyncio.create_task(engine.submit(inputs(*[b"x"] * 6)))
        await asyncio.sleep(0.02)
        closing = asyncio.create_task(asyncio.to_thread(engine.close))
        await asyncio.sleep(0.02)
        with pytest.raises(ModelNotReady):
            await engine.submit(inputs(b"x"))
        path.go_on.set()
        assert all(isinstance(result, Judged) for result in await waiting)
        await closing

    with_engine(decoders, path, use, max_batch=2)


def test_a_tensor_is_taken_as_it_is(decoders: ThreadPoolExecutor) -> None:
    path = Scripted()

    async def use(engine: Engine) -> None:
        [result] = await engine.submit([Input("e", np.zeros((1, 2, 2), np.float32))])
        assert isinstance(result, Judged)
        assert result.properties == {}
        assert len(result.sha256) == 64

    with_engine(decoders, path, use)
