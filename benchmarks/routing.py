"""What deciding who acts adds to a request: microseconds, beside the milliseconds it takes anyway.

Each stage is timed beside the decision that a gateway without rollouts takes (observe), in
alternating rounds, and so is the seal of a prediction. No model runs here: `benchmarks.gateway`
measures whole requests.
"""

import argparse
import secrets
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from benchmarks.report import Row, at_most, finish
from monitor.domain import Stage
from monitor.rollouts.routing import Case, Standing, route
from monitor.rollouts.seal import NONCE_BYTES, commit
from monitor.rollouts.snapshot import BUCKETS, Hours, Incumbent, Lever, Scope, Snapshot

CALLS = 2_000
"""Timed together; one call is shorter than the clock's tick is reliable."""
MOST_US = 100.0
"""Of a request of ten milliseconds, a hundredth."""


def main() -> None:
    """Measure and print; a quick run takes seconds, a full one about a minute."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--json", type=Path, help="write rows, machine and bars here")
    arguments = parser.parse_args()
    work = {**_decisions(), **_seals()}
    timings: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(5 if arguments.quick else 50):
        for name, call in work.items():
            timings[name].append(_microseconds(call))
    baseline = statistics.median(timings["route, observe"])
    rows: list[Row] = [
        {
            "what": name,
            "µs, median": statistics.median(times),
            "µs, best": min(times),
            "more than observe": statistics.median(times) - baseline,
        }
        for name, times in timings.items()
    ]
    slowest = max(statistics.median(times) for name, times in timings.items() if "route" in name)
    bars = [at_most("µs to decide who acts, in the slowest stage", slowest, MOST_US)]
    finish("Routing and sealing, one call", rows, bars, arguments.json)


def _microseconds(call: Callable[[], object]) -> float:
    # Processor time: a neighbour on the machine is no cost of ours.
    begun = time.thread_time()
    for _ in range(CALLS):
        call()
    return (time.thread_time() - begun) / CALLS * 1e6


def _decisions() -> dict[str, Callable[[], object]]:
    always = Hours(tz="America/Denver", days=tuple(range(7)), start="00:00", end="00:00")
    scope = Scope(units=("cam-01",), hours=(always,), actions_per_day=40, heartbeat_s=600.0)
    observe = Snapshot(
        model="bears",
        epoch=1,
        stage=Stage.OBSERVE,
        version="2",
        bundle_sha="a" * 64,
        published_at=datetime.now(UTC),
        published_by="benchmark",
        salt="bears-v7",
        exposed_buckets=BUCKETS,
        hold_out=0.01,
        levers=(Lever(prediction="bear", action="warn", min_confidence=0.5),),
    )
    plans = {
        "observe": observe,
        "shadow": msgspec.structs.replace(observe, stage=Stage.SHADOW),
        "limited": msgspec.structs.replace(observe, stage=Stage.LIMITED, scope=scope),
        "gradual": msgspec.structs.replace(observe, stage=Stage.GRADUAL),
        "gradual, beside an incumbent": msgspec.structs.replace(
            observe, stage=Stage.GRADUAL, incumbent=Incumbent(version="1", bundle_sha="b" * 64)
        ),
    }
    return {f"route, {name}": _decision(plan) for name, plan in plans.items()}


def _decision(plan: Snapshot) -> Callable[[], object]:
    now = datetime.now(UTC)

    def decide() -> object:
        case = Case(
            unit="cam-01",
            episode_id="01a20f29-051a-7bac-ba77-c6282af6b068",
            at=now,
            bundle_sha="a" * 64,
            prediction="bear",
            confidence=0.9,
            flagged=False,
        )
        standing = Standing(killed=False, plan_age_s=0.5, silent_s=20.0, actions_left=2)
        return route(snapshot=plan, case=case, standing=standing)

    return decide


def _seals() -> dict[str, Callable[[], object]]:
    return {f"seal, {classes} classes": _seal(classes) for classes in (3, 1_000)}


def _seal(classes: int) -> Callable[[], object]:
    event = {
        "event_id": "01a20f29-051a-7bac-ba77-c6282af6b068",
        "model": "bears",
        "version": "2",
        "bundle_sha": "a" * 64,
        "input_sha256": "c" * 64,
        "prediction": "bear",
        "confidence": 0.9,
        "probabilities": [1.0 / (classes + place) for place in range(classes)],
        "p_semantic": 0.5,
        "p_domain": 0.25,
        "p_value": 0.5,
        "flagged": False,
    }
    return lambda: commit(secrets.token_bytes(NONCE_BYTES), event)


if __name__ == "__main__":
    main()
