"""Does a healthy input have p ≤ α as often as is said? A hundred splits, and their Beta bands.

Given one reference of n rows the rate of p ≤ α on healthy inputs is no constant: it is Beta
distributed, and what is promised is that it lies in the band. Each split draws a reference and
fresh inputs, counts p ≤ α, and asks whether the count lies in the band at 99 % (of the Beta law
compounded with the counting of finitely many inputs). So 99 % of splits should, and the bar of 95 %
means something.

- *digits*: scores of a model's embeddings of real handwritten digits (semantic, domain, and the
  joint one that flags), held-out rows divided anew in each split. Few rows: small α cannot be
  resolved, the band says so.
- *population*: `benchmarks.population` drawn without end, features scored by distance; continuous,
  and with ties (saturated, and in steps), where ties are broken by the event's id.

Beside them what is often done: counting without breaking ties, and calibrating on the very rows the
scores were fitted on. Nothing is tuned here. Takes about four minutes; ``--quick`` makes 20 splits.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from scipy.stats import betabinom

from benchmarks.ood_data import sources
from benchmarks.ood_networks import see
from benchmarks.population import Conditions, Population, fit_population, saturate, step
from benchmarks.report import Bar, Row, at_least, finish
from reference_data.conformal import p_values, uniforms
from reference_data.scores.domain import DomainScore
from reference_data.scores.joint import JointScore
from reference_data.scores.semantic import SemanticScore
from reference_data.scores.shrinkage import shrunk_covariance, whitener
from reference_data.scores.training import Training

ALPHAS = (0.1, 0.05, 0.01, 0.001)
LEVEL = 0.99
BAR = 0.95
FIT, CALIBRATE, FRESH = 500, 2_000, 5_000
"""Rows of a split of the population."""
Floats = npt.NDArray[np.float64]
Method = Callable[[Floats, Floats, Floats], Floats]
say = Console(stderr=True).print


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Scores of one split."""

    fitted: Floats
    """Of the rows the score was fitted on."""
    calibration: Floats
    """Of held-out rows."""
    fresh: Floats
    """Of healthy inputs that nothing has seen."""


def ours(calibration: Floats, fresh: Floats, draws: Floats) -> Floats:
    """Break ties by a number drawn from the event's id."""
    return p_values(fresh, np.sort(calibration), draws)


def untied(calibration: Floats, fresh: Floats, _draws: Floats) -> Floats:
    """Count the rows more unusual, as if scores never tied."""
    ordered = np.sort(calibration)
    more = len(ordered) - np.searchsorted(ordered, fresh, side="right")
    p: Floats = more / (len(ordered) + 1)
    return p


def main() -> None:
    """Count, and compare with the band."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 splits")
    parser.add_argument("--json", type=Path, help="where to write the result")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    splits = 20 if options.quick else 100
    say(f"{splits} splits; this takes about {'half a minute' if options.quick else 'four minutes'}")
    rows: list[Row] = []
    bars: list[Bar] = []
    for data, drawn in _data(splits, options.seed).items():
        found = list(drawn)
        for name, method, in_sample in (
            ("Fieldwatch", ours, False),
            ("ties not broken", untied, False),
            ("calibrated in sample", ours, True),
        ):
            for alpha in ALPHAS:
                row, inside = _count(data, name, method, found, alpha, in_sample)
                rows.append(row)
                if method is ours and not in_sample:
                    bars.append(at_least(f"splits inside, {data}, α = {alpha:g}", inside, BAR))
    finish(f"P(p ≤ α) over {splits} splits, and the Beta band", rows, bars, options.json)


def _count(
    data: str, name: str, method: Method, splits: list[Split], alpha: float, in_sample: bool
) -> tuple[Row, float]:
    rates, inside, low, high = [], 0, 0.0, 1.0
    for place, split in enumerate(splits):
        ids = [f"{place}-{k}" for k in range(len(split.fresh))]
        calibration = split.fitted if in_sample else split.calibration
        p = method(calibration, split.fresh, uniforms(ids, data, place))
        count = int((p <= alpha).sum())
        fewest, most = _band(len(calibration), len(p), alpha)
        inside += fewest <= count <= most
        rates.append(count / len(p))
        low, high = fewest / len(p), most / len(p)
    row: Row = {
        "data": data,
        "p-values": name,
        "α": alpha,
        "mean rate": float(np.mean(rates)),
        "band from": low,
        "to": high,
        "splits inside": f"{inside / len(splits):.0%}",
    }
    return row, inside / len(splits)


@cache
def _band(n: int, m: int, alpha: float) -> tuple[float, float]:
    """Bound the count of p ≤ α among m healthy inputs, given one reference of n rows.

    The rank that α falls on is passed by some of the draws that break ties: the rate lies between
    those of the rank below and above.
    """
    tail = (1 - LEVEL) / 2
    below, above = int(np.floor(alpha * (n + 1) + 1e-9)), int(np.ceil(alpha * (n + 1) - 1e-9))
    lower = betabinom.ppf(tail, m, below, n + 1 - below) if below else 0.0
    upper = betabinom.ppf(1 - tail, m, max(above, 1), n + 1 - max(above, 1))
    return float(lower), float(upper)


def _data(splits: int, seed: int) -> dict[str, Iterator[Split]]:
    population = fit_population()
    return {
        "digits, semantic": _digits(splits, seed, "semantic"),
        "digits, domain": _digits(splits, seed, "domain"),
        "digits, joint": _digits(splits, seed, "joint"),
        "population": _population(population, splits, seed, lambda scores: scores),
        "population, saturated": _population(
            population, splits, seed, lambda scores: saturate(scores, 20.0)
        ),
        "population, in steps": _population(
            population, splits, seed, lambda scores: step(scores, 2.0)
        ),
    }


def _digits(splits: int, seed: int, stream: str) -> Iterator[Split]:
    """Divide real held-out digits in halves, a hundred times; the network is trained once."""
    fitted, held_out = _digit_scores(seed)[stream]
    for place in range(splits):
        order = np.random.default_rng([seed, place]).permutation(len(held_out))
        half = len(order) // 2
        yield Split(fitted=fitted, calibration=held_out[order[:half]], fresh=held_out[order[half:]])


@cache
def _digit_scores(seed: int) -> dict[str, tuple[Floats, Floats]]:
    """Score the rows the network was trained on and those held out, by each stream."""
    seen = see(sources(None, seed, 1)[0](), "small", epochs=6, seed=seed)
    training = Training.of(seen.train, seen.train_labels, seen.weights, seen.bias)
    semantic, domain = SemanticScore.fit(training), DomainScore.fit(training)
    joint = JointScore.fit(training, semantic, domain)
    (fitted, fitted_domain), (held, held_domain) = (
        (semantic.score(part), domain.score(part.mid)) for part in (seen.train, seen.held_out)
    )
    return {
        "semantic": (fitted, held),
        "domain": (fitted_domain, held_domain),
        "joint": (joint.score(fitted, fitted_domain), joint.score(held, held_domain)),
    }


def _population(
    population: Population, splits: int, seed: int, tie: Callable[[Floats], Floats]
) -> Iterator[Split]:
    """Draw everything anew in each split; score by distance under a covariance fitted there."""
    for place in range(splits):
        rng = np.random.default_rng([seed, place])
        drawn = population.draw(FIT + CALIBRATE + FRESH, Conditions(), rng).features
        fitting = drawn[:FIT]
        factor = whitener(shrunk_covariance(fitting - fitting.mean(axis=0))[0])
        scores = tie(np.square((drawn - fitting.mean(axis=0)) @ factor).sum(axis=1))
        yield Split(
            fitted=scores[:FIT],
            calibration=scores[FIT : FIT + CALIBRATE],
            fresh=scores[FIT + CALIBRATE :],
        )


if __name__ == "__main__":
    main()
