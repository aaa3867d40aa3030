"""Detectors of a reference made of bursts: what they are built with, and that the promise holds."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom, norm

from monitor.domain import Mode, StreamKey, StreamName
from monitor.services.streams.baseline import (
    Baseline,
    count_flagged,
    pick_properties,
    rank_segments,
)
from monitor.services.streams.opening import detector_configuration, open_streams
from monitor.services.streams.stream import Terms
from monitor.settings import DetectorOptions
from monitor.stats.streams.bets import Bets
from monitor.stats.streams.property_bets import PropertyBets
from reference_data.calibration_size import CalibrationRows, calibration_size
from reference_data.division import frames_each, spread
from reference_data.held_out import HeldOut

Floats = npt.NDArray[np.float64]
RATES = np.array([0.6, 0.3, 0.1])
CUTS = norm.ppf(np.cumsum(RATES)[:-1])
ALPHA = 0.05
DELTA = 0.05


def baseline(
    rho: float, rng: np.random.Generator, *, episodes: int = 250, trusting: bool = False
) -> tuple[Baseline, dict[str, Floats]]:
    """Build the baseline of bursts of unequal length, as an import and the monitor do.

    Every quantity is standard normal, equally correlated within a burst.
    """
    lengths = np.minimum(rng.geometric(0.2, episodes), 20)
    burst = np.repeat(np.arange(episodes), lengths)
    drawn = {
        name: np.sqrt(rho) * rng.normal(size=episodes)[burst]
        + np.sqrt(1 - rho) * rng.normal(size=len(burst))
        for name in ("semantic", "domain", "confidence", "class", "brightness")
    }
    ends = np.cumsum(lengths).tolist()
    groups = [list(range(end - n, end)) for n, end in zip(lengths.tolist(), ends, strict=True)]
    frames = frames_each(groups)
    places = np.array(spread(groups, frames, 5))
    values = {name: column[places] for name, column in drawn.items()}
    predicted = np.searchsorted(CUTS, values["class"])
    size = calibration_size(
        CalibrationRows(
            episodes=burst[places],
            frames=frames,
            scores={name: values[name] for name in ("semantic", "domain", "confidence")},
            predictions=predicted,
            properties={"brightness": values["brightness"]},
        ),
        ALPHA,
    )
    assert size is not None
    worth = {} if trusting else size.n_eff
    rows = held(values, predicted)
    found = Baseline(
        bundle_sha="b" * 64,
        seed=3,
        vocab=("a", "b", "c"),
        rows=len(places),
        unsureness=np.sort(values["confidence"]),
        class_counts=np.bincount(predicted, minlength=3),
        flagged=count_flagged(rows, len(places), ALPHA, 3, joint=False),
        properties=pick_properties(rows.properties, worth, len(places)),
        worth=worth,
    )
    return found, values


def held(values: dict[str, Floats], predicted: npt.NDArray[np.intp]) -> HeldOut:
    n = len(predicted)
    return HeldOut(
        rows=np.arange(n),
        role=np.full(n, "calibrate"),
        labels=predicted,
        logits=np.eye(3, dtype=np.float32)[predicted],
        embedding=np.zeros((n, 2), np.float16),
        semantic=values["semantic"],
        domain=values["domain"],
        properties={"brightness": values["brightness"]},
        segments={"site": np.where(np.arange(n) < 2 * n // 5, "north", "")},
    )


def broken(known: Baseline, values: dict[str, Floats]) -> set[StreamName]:
    """Name the streams with a bet that pays more than 1 in the mean, given this reference."""
    keys = {StreamKey(stream=name): Terms(log_threshold=9.0, text="") for name in StreamName}
    opened = open_streams("bears", known, keys, DELTA)
    found = set()
    for key, stream in opened.items():
        if key.mode is Mode.CERTIFIED and _worst(key.stream, stream.bets, known, values) > 1:
            found.add(key.stream)
    return found


def _worst(name: StreamName, bets: object, known: Baseline, values: dict[str, Floats]) -> float:
    match name:
        case StreamName.CLASS_RATES:
            assert isinstance(bets, Bets)
            return float((RATES @ np.exp(bets.table[bets.rows])).max())
        case StreamName.FLAG_RATE:
            assert isinstance(bets, Bets)
            assert known.flagged is not None
            limits = [np.sort(values[s])[-known.flagged.beyond] for s in ("semantic", "domain")]
            rate = 1 - float(np.prod(norm.cdf(limits)))
            return float((np.array([1 - rate, rate]) @ np.exp(bets.table)).max())
        case StreamName.PROPERTIES:
            assert isinstance(bets, PropertyBets)
            return max(_mean(table, values["brightness"]) for table in bets.tables)
        case StreamName.SEMANTIC | StreamName.DOMAIN | StreamName.CONFIDENCE:
            assert isinstance(bets, Bets)
            return _mean(bets, values[name.value])


def _mean(bets: Bets, calibration: Floats) -> float:
    above = norm.sf(np.sort(calibration)[::-1])
    mass = np.diff(np.concatenate([[0.0], above, [1.0]]))
    return float((mass @ np.exp(bets.table[bets.rows])).max())


def test_the_detectors_are_built_with_what_the_rows_are_worth() -> None:
    known, values = baseline(0.5, np.random.default_rng(1))
    keys = {StreamKey(stream=name): Terms(log_threshold=9.0, text="") for name in StreamName}
    opened = open_streams("bears", known, keys, DELTA)

    assert len(keys) <= len(opened)
    for stream in opened.values():
        assert "n_eff" in stream.bets.configuration
    trusting, _ = baseline(0.5, np.random.default_rng(1), trusting=True)
    options = DetectorOptions()
    assert detector_configuration(options, known) != detector_configuration(options, trusting)
    assert broken(known, values) <= set(StreamName)


def test_segments_and_properties_need_rows_enough_that_are_worth_it() -> None:
    known, values = baseline(1.0, np.random.default_rng(2))
    rows = held(values, np.zeros(known.rows, np.intp))
    scores = {
        StreamName.SEMANTIC: np.sort(values["semantic"]),
        StreamName.DOMAIN: np.sort(values["domain"]),
    }
    mine = int((rows.segments["site"] == "north").sum())

    assert list(rank_segments(rows, scores, 3)) == ["site=north"]
    # The rows of two fifths of 250 episodes that repeat themselves are worth about a hundred.
    few = dict.fromkeys(("semantic", "domain"), 0.99 * 100 * known.rows / mine)
    assert not rank_segments(rows, scores, 3, few)
    assert not pick_properties(rows.properties, {"property.brightness": 99.0}, known.rows)
    assert list(pick_properties(rows.properties, known.worth, known.rows)) == ["brightness"]


@pytest.mark.statistics
@pytest.mark.parametrize("rho", [0.0, 0.2, 0.5, 1.0])
def test_a_reference_of_bursts_breaks_its_promise_for_at_most_delta_of_references(
    rho: float,
) -> None:
    references, rng = 150, np.random.default_rng(17)

    count = sum(bool(broken(*baseline(rho, rng))) for _ in range(references))

    assert count <= binom.ppf(0.999, references, DELTA)


@pytest.mark.statistics
def test_taking_frames_for_episodes_breaks_it() -> None:
    references, rng = 60, np.random.default_rng(18)

    count = sum(bool(broken(*baseline(0.5, rng, trusting=True))) for _ in range(references))

    assert count > binom.ppf(0.999, references, DELTA)
