"""What one episode is to each stream: a rank, a class, a flag, a row of ranks."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from monitor.domain import StreamKey, StreamName
from monitor.services.streams.baseline import Baseline, FlaggedRows
from monitor.services.streams.episodes import Episode, finite
from monitor.stats.streams.property_bets import MISSING
from reference_data.conformal import p_values, ranks, uniforms, unsureness

Ranks = npt.NDArray[np.int64]
Observer = Callable[[Sequence[Episode]], Ranks]


def observer(name: StreamName, baseline: Baseline) -> Observer:
    """Give the function that turns episodes into what the bets of a stream are on."""
    match name:
        case StreamName.SEMANTIC:
            return lambda episodes: ranks([e.p_semantic for e in episodes], baseline.rows)
        case StreamName.DOMAIN:
            return lambda episodes: ranks([e.p_domain for e in episodes], baseline.rows)
        case StreamName.CONFIDENCE:
            return lambda episodes: ranks(unsure_p(baseline, episodes), baseline.rows)
        case StreamName.CLASS_RATES:
            places = {label: place for place, label in enumerate(baseline.vocab)}
            return lambda episodes: np.array([places[e.prediction] for e in episodes], np.int64)
        case StreamName.FLAG_RATE:
            return lambda episodes: flags(baseline.flagged, episodes)
        case StreamName.PROPERTIES:
            return lambda episodes: property_ranks(baseline, episodes)


def segment_observer(key: StreamKey, baseline: Baseline) -> Observer:
    """Give the function that ranks a segment's episodes among the segment's calibration rows."""
    above = baseline.segments[key.segment].above[key.stream]
    of_all = observer(key.stream, baseline)
    return lambda episodes: above[of_all(episodes)]


def unsure_p(baseline: Baseline, episodes: Sequence[Episode]) -> npt.NDArray[np.float64]:
    """Turn confidences into p-values: small is less sure than healthy inputs are."""
    return p_values(
        unsureness([episode.confidence for episode in episodes]),
        baseline.unsureness,
        uniforms([episode.event_id for episode in episodes], "confidence", baseline.seed),
    )


def flags(rule: FlaggedRows | None, episodes: Sequence[Episode]) -> Ranks:
    """Tell which episodes are flagged, by the rule the calibration rows were counted with."""
    alpha = -1.0 if rule is None else rule.alpha
    return np.array([episode.p_value <= alpha for episode in episodes], dtype=np.int64)


def property_ranks(baseline: Baseline, episodes: Sequence[Episode]) -> Ranks:
    """Rank each property among its calibration values, [episode, property]; ties at random."""
    found = np.full((len(episodes), len(baseline.properties)), MISSING, dtype=np.int64)
    for place, (name, calibration) in enumerate(baseline.properties.items()):
        here = [i for i, e in enumerate(episodes) if finite(e.properties.get(name))]
        draws = uniforms([episodes[i].event_id for i in here], f"property.{name}", baseline.seed)
        p = p_values([episodes[i].properties[name] for i in here], calibration, draws)
        found[here, place] = ranks(p, len(calibration))
    return found
