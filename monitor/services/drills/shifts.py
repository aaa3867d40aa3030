"""What each shift does: how much of it is flagged, what it costs, when it is seen."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from monitor.certificate import Depth, Injected
from monitor.services.drills.ground import Ground
from monitor.services.drills.injection import Injection
from monitor.services.drills.passages import Judge
from monitor.services.drills.request import DrillRequest, Progress
from monitor.stats.accuracy.paired import Effect, paired_effect, unpaired_effect
from monitor.stats.share import flagged_share
from reference_data.held_out import HeldOut
from reference_data.shifted import HEALTHY, NO_CLASS, Shifted

QUICK_SHARES = (0.1, 1.0)
FULL_SHARES = (0.01, 0.05, 0.1, 0.2, 0.5, 1.0)
FEWEST_OF_CLASS = 20
"""Held-out rows of a class that make a change of the class mix."""


def inject(
    ground: Ground,
    injection: Injection,
    judge: Judge,
    request: DrillRequest,
    progress: Progress,
) -> tuple[Injected, ...]:
    """Measure every cell of shift and severity, and growth of the class predicted worst."""
    passed, alpha = ground.passed, ground.bundle.manifest.alpha
    cells = passed.cells()
    mix = _hardest_class(ground.held)
    shares = FULL_SHARES if request.depth is Depth.FULL else QUICK_SHARES
    healthy = passed.cell(HEALTHY, 0)
    found = []
    with progress.step("injecting shifts", len(cells) + (mix is not None)) as advance:
        for number, (shift, severity) in enumerate(cells):
            rng = np.random.default_rng([request.seed, 13, number])
            cell = passed.cell(shift, severity)
            effect = _effect(healthy, cell)
            found.append(
                _measure(injection, judge, cell, (shift, severity), effect, alpha, shares, rng)
            )
            advance(1)
        if mix is not None:
            rng = np.random.default_rng([request.seed, 13, len(cells)])
            rows, right = ground.held.take(ground.held.labels == mix), _right(ground.held)
            effect = unpaired_effect(right, right[ground.held.labels == mix])
            name = f"more of class {ground.bundle.manifest.vocab[mix]}"
            found.append(_measure(injection, judge, rows, (name, 0), effect, alpha, shares, rng))
            advance(1)
    return tuple(found)


def _hardest_class(held: HeldOut) -> int | None:
    """Pick the class whose growth would cost most: the one predicted worst."""
    classes, counts = np.unique(held.labels, return_counts=True)
    known = classes[counts >= FEWEST_OF_CLASS].tolist()
    right = _right(held)
    return min(known, key=lambda label: right[held.labels == label].mean(), default=None)


def _right(rows: HeldOut | Shifted) -> npt.NDArray[np.bool_]:
    return np.asarray(rows.logits.argmax(axis=1) == rows.labels)


def _effect(healthy: Shifted, cell: Shifted) -> Effect | None:
    """Compare the pictures of a cell with themselves as they were."""
    before = dict(zip(healthy.rows.tolist(), _right(healthy).tolist(), strict=True))
    paired = np.isin(cell.rows, healthy.rows) & (cell.labels != NO_CLASS)
    rows = cell.take(paired)
    was = np.array([before[row] for row in rows.rows.tolist()], dtype=np.bool_)
    return paired_effect(was, _right(rows))


def _measure(
    injection: Injection,
    judge: Judge,
    rows: HeldOut | Shifted,
    named: tuple[str, int],
    effect: Effect | None,
    alpha: float,
    shares: Sequence[float],
    rng: np.random.Generator,
) -> Injected:
    episodes = judge.episodes(rows, f"{named[0]}/{named[1]}")
    flagged = flagged_share(sum(each.p_value <= alpha for each in episodes), len(episodes), 1)
    return Injected(
        shift=named[0],
        severity=named[1],
        rows=len(episodes),
        flagged=flagged.count,
        flagged_low=flagged.low,
        flagged_high=flagged.high,
        accuracy=effect,
        delays=injection.delays(episodes, shares, rng),
    )
