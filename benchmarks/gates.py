"""How long gates take, and how often they err, looked at after every unit.

Beside each gate stands what looking at a test of one look does when it is looked at always: it
passes what must not pass, several times as often as it says. All data are drawn; nothing is tuned.
Errors of shares are exact within 5,000 units; the rest rests on 2,000 runs a row.
"""

import argparse
from pathlib import Path

import numpy as np

from benchmarks.gate_runs import NEVER, Counts, above, ever, fewest, first, play_arms, successes
from benchmarks.report import Bar, Row, at_most, finish

ALPHA = 0.05
RUNS = 2_000
SHARES = (
    (0.90, 0.99, 43, 85),
    (0.90, 0.97, 85, 168),
    (0.90, 0.95, 183, 420),
    (0.90, 0.93, 575, 1_370),
    (0.95, 0.99, 134, None),
)
"""Limit, truth, and the published median and 90th percentile of units until it passes."""
ARMS = (
    (1.0, 0.5, "pass", 130, 206),
    (1.3, 0.5, "pass", 220, 470),
    (2.0, 0.5, "held", 69, 161),
    (0.5, 0.5, "held", 79, 161),
    (3.0, 0.5, "fail", 290, 630),
    (1 / 3, 0.5, "fail", 290, 600),
    (1.0, 0.05, "pass", 720, 1_280),
    (2.0, 0.05, "held", 290, 620),
    (0.5, 0.05, "held", 690, 1_330),
    (3.0, 0.05, "fail", 630, 1_260),
)
"""Ratio, exposure, verdict, and the published median and 90th percentile of actions until it."""
SLOW_ARMS = ((1.0, 0.01, "pass", 4_200, 7_100), (2.0, 0.01, "held", 1_500, 3_500))
NEAR = 0.10
"""Share by which a median may lie above the published one."""


def main() -> None:
    """Measure and print; a quick run takes half a minute, a full one about three."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="exposures of 5 %% and more")
    parser.add_argument("--json", type=Path, help="write rows, machine and bars here")
    arguments = parser.parse_args()
    rows, bars = _errors()
    for found in (_shares(), _arms(arguments.quick)):
        rows += found[0]
        bars += found[1]
    finish("Gates, a look at every unit, α = .05", rows, bars, arguments.json)


def _errors() -> tuple[list[Row], list[Bar]]:
    """Play truths that lie on a limit, where nothing may be said."""
    units = 5_000
    rates = {
        f"share {limit:g} at its limit: {said}": ever(fewest(test, units), truth)
        for limit in (0.9, 0.95)
        for said, test, truth in (
            ("passes", above(limit, ALPHA), limit),
            ("fails", above(1 - limit, ALPHA), 1 - limit),
        )
    }
    late, looks = successes(0.9, units, RUNS, 1)[:, 29:], np.arange(30, units + 1)
    z = (late / looks - 0.9) / np.sqrt(0.09 / looks)
    naive = (z > 1.645).any(axis=1).mean()
    doubled = play_arms(2.0, 0.5, units, RUNS, 2, ALPHA)
    same = play_arms(1.0, 0.5, units, RUNS, 3, ALPHA)
    rates |= {
        "ratio 2 at its limit 2: passes": _ever(doubled.passed),
        "ratio 2 at its limit 2: fails": _ever(doubled.failed),
        "ratio 1: held early": _ever(same.held),
    }
    rows = [_row(name, wrong=float(rate)) for name, rate in rates.items()]
    rows.append(_row("peer: z-test of one look, looked at always, share .90", wrong=float(naive)))
    bars = [at_most(f"wrongly: {name}", float(rate), ALPHA) for name, rate in rates.items()]
    return rows, bars


def _shares() -> tuple[list[Row], list[Bar]]:
    rows, bars = list[Row](), list[Bar]()
    for limit, truth, median, late in SHARES:
        units = 6_000
        found = first(successes(truth, units, RUNS, 4) >= fewest(above(limit, ALPHA), units))
        name = f"share {truth:g} above {limit:g}: passes"
        rows.append(_row(name, found=found, median=median, late=late))
        bars.append(_soon(name, found, median))
    return rows, bars


def _arms(quick: bool) -> tuple[list[Row], list[Bar]]:
    rows, bars = list[Row](), list[Bar]()
    for ratio, exposure, verdict, median, late in ARMS if quick else ARMS + SLOW_ARMS:
        # Longer than nine of ten runs take, twice over.
        arms = play_arms(ratio, exposure, 2 * late, RUNS, 5, ALPHA)
        found = {"pass": arms.passed, "held": arms.held, "fail": arms.failed}[verdict]
        name = f"ratio {ratio:.3g}, {exposure:.0%} exposed: {verdict}"
        rows.append(_row(name, found=found, median=median, late=late))
        bars.append(_soon(name, found, median))
    return rows, bars


def _soon(name: str, found: Counts, published: int) -> Bar:
    return at_most(f"median until {name}", float(np.median(found)), (1 + NEAR) * published)


def _ever(found: Counts) -> float:
    return float((found < NEVER).mean())


def _row(
    name: str,
    *,
    wrong: float | None = None,
    found: Counts | None = None,
    median: int | None = None,
    late: int | None = None,
) -> Row:
    return {
        "what": name,
        "wrong, share of runs": wrong,
        "median": None if found is None else float(np.median(found)),
        "90th percentile": None if found is None else float(np.quantile(found, 0.9)),
        "published median": median,
        "published 90th": late,
    }


if __name__ == "__main__":
    main()
