"""Which streams a bundle has, and how each is built from its baseline: pure."""

import functools
import hashlib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from monitor.domain import Mode, StreamKey, StreamName
from monitor.services.streams.baseline import IMPORT_AGAIN, Baseline
from monitor.services.streams.observations import observer, segment_observer
from monitor.services.streams.stream import Stream, Terms
from monitor.settings import DetectorOptions
from monitor.stats.streams.bets import Bets, Betting, TooFewRows
from monitor.stats.streams.flag_bets import flag_bets
from monitor.stats.streams.property_bets import property_bets
from monitor.stats.streams.rank_bets import rank_bets
from monitor.stats.streams.rate_bets import class_rate_bets

CERTIFIED = 1.0
"""Share of the slack that is kept, κ: all of it, for nothing less is certified and may alarm."""
BALANCED = 0.75
"""κ of the charts beside the certified streams: sooner, and no promise."""
DELTA_SHARES = {
    StreamName.SEMANTIC: 0.3,
    StreamName.DOMAIN: 0.3,
    StreamName.CONFIDENCE: 0.15,
    StreamName.CLASS_RATES: 0.1,
    StreamName.FLAG_RATE: 0.05,
    StreamName.PROPERTIES: 0.1,
}
"""How the streams of a bundle share δ. Slack grows with less of it, most of all in small tails of
small references, so most goes to the two streams that may page."""
SMALLEST_DELTA = 1e-9
"""Part of δ with which a stream must still have bets: what it gets falls as references come."""
EPISODE_GAP_S = 60.0
"""The usual gap between episodes, as a route says it."""


def watchlist(baseline: Baseline, options: DetectorOptions) -> tuple[StreamKey, ...]:
    """List the certified streams a bundle has: of all its traffic, then of its segments.

    A segment has streams of its own when the bundle has calibration rows enough of it; without
    them a lasting difference from the others would look like drift (`Mode.CHARTED`).
    """
    names = [name for name in options.weights if unwatched(name, baseline) is None]
    wanted = [name for name in options.segment_streams if name in names]
    known = sorted(
        (segment for segment in baseline.segments if segment.partition("=")[0] in options.segments),
        key=lambda segment: (-baseline.segments[segment].rows, segment),
    )
    return (
        *(StreamKey(stream=name) for name in names),
        *(
            StreamKey(stream=name, segment=segment)
            for segment in known[: options.most_segments]
            for name in wanted
        ),
    )


def open_streams(
    model: str,
    baseline: Baseline,
    terms: Mapping[StreamKey, Terms],
    delta: float,
    *,
    charted: Collection[str] = (),
    segment_streams: Collection[StreamName] = (),
) -> dict[StreamKey, Stream]:
    """Open certified streams, and beside each of the whole traffic a balanced one for the charts.

    Parameters
    ----------
    model
        Name it is served under.
    baseline
        The bundle's calibration rows.
    terms
        What each certified stream holds of the budget; those of `watchlist` or some of them.
    delta
        Chance that this reference breaks the promise, divided by `delta_of`.
    charted
        Segments without a reference of their own, compared with the whole one.
    segment_streams
        Which streams of `charted` to open.
    """
    streams: dict[StreamKey, Stream] = {}
    for key, granted in terms.items():
        part = delta_of(key, terms, delta)
        opening = _Opening(model=model, baseline=baseline, terms=granted, delta=part)
        streams[key] = opening.open(key, CERTIFIED)
        if key.segment:
            continue
        balanced = replace(key, mode=Mode.BALANCED)
        streams[balanced] = opening.open(balanced, BALANCED)
        for segment in charted if key.stream in segment_streams else ():
            chart = replace(key, segment=segment, mode=Mode.CHARTED)
            streams[chart] = opening.open(chart, CERTIFIED)
    return streams


def open_charts(
    model: str, baseline: Baseline, options: DetectorOptions
) -> dict[StreamKey, Stream]:
    """Open the streams of a reference that supports no promise.

    They hold nothing of the budget, are judged as if they were alone in the installation, and
    open no alarm.
    """
    keys = [key for key in watchlist(baseline, options) if not key.segment]
    return {
        replace(key, mode=Mode.CHARTED): _Opening(
            model=model,
            baseline=baseline,
            terms=Terms(
                log_threshold=options.log_threshold(options.weights[key.stream]),
                text=f"clock={options.clock} run_length={options.run_length!r}",
            ),
            delta=delta_of(key, keys, options.delta),
        ).open(replace(key, mode=Mode.CHARTED), CERTIFIED)
        for key in keys
    }


def delta_of(key: StreamKey, keys: Collection[StreamKey], delta: float) -> float:
    """Give a stream its part of δ: healthy scores of each have a distribution of their own.

    Streams of the whole traffic share δ by `DELTA_SHARES`; when there are segments, these get half
    of it and share that likewise.
    """
    alike = [each for each in keys if bool(each.segment) is bool(key.segment)]
    part = 1.0 if len(alike) == len(keys) else 0.5
    total = math.fsum(DELTA_SHARES[each.stream] for each in alike)
    return delta * part * DELTA_SHARES[key.stream] / total


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opening:
    model: str
    baseline: Baseline
    terms: Terms
    delta: float

    def open(self, key: StreamKey, kappa: float) -> Stream:
        own = bool(key.segment) and key.mode is Mode.CERTIFIED
        return Stream(
            model=self.model,
            bundle_sha=self.baseline.bundle_sha,
            key=key,
            bets=_segment_ranks(key, self.baseline, self.delta, kappa)
            if own
            else _bets(key.stream, self.baseline, self.delta, kappa),
            terms=self.terms,
            first_alike=self.baseline.first_alike,
            observe=segment_observer(key, self.baseline)
            if own
            else observer(key.stream, self.baseline),
        )


@functools.lru_cache(maxsize=256)
def unwatched(name: StreamName, baseline: Baseline) -> str | None:
    """Say why a bundle has no such stream; ``None`` when it has."""
    if name is StreamName.FLAG_RATE and baseline.flagged is None:
        return IMPORT_AGAIN
    if name is StreamName.PROPERTIES and not baseline.properties:
        return f"no property has enough calibration values; or {IMPORT_AGAIN}"
    try:
        _bets(name, baseline, SMALLEST_DELTA, CERTIFIED)
    except TooFewRows as reason:
        return str(reason)
    return None


def detector_configuration(
    options: DetectorOptions, baseline: Baseline, *, episode_gap_s: float = EPISODE_GAP_S
) -> str:
    """Give the digest of everything a drill certificate rests on beside the bundle itself.

    Streams and what their bets were built from, weights, κ, δ, the clock and the time between
    false alarms, and what counts as one episode. What the ledger grants beyond the settings is left
    out: a weight only falls, which makes a false alarm rarer than certified.

    Parameters
    ----------
    options
        What the owner has set.
    baseline
        The bundle's calibration rows.
    episode_gap_s
        Gap between episodes of the traffic, in seconds.
    """
    keys = watchlist(baseline, options)
    lines = [
        f"clock={options.clock} run_length={options.run_length!r} kappa={CERTIFIED!r} "
        f"delta={options.delta!r} episode_gap_s={episode_gap_s!r}{_frames(options)}"
    ]
    for key in keys:
        part = delta_of(key, keys, options.delta)
        opened = _Opening(
            model="", baseline=baseline, terms=Terms(log_threshold=0.0, text=""), delta=part
        ).open(key, CERTIFIED)
        weight = options.reserve if key.segment else options.weights[key.stream]
        lines.append(f"{key.title} weight={weight!r} {opened.bets.configuration}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _frames(options: DetectorOptions) -> str:
    # Left out where it is what certificates were given for before there was a choice: what a drill
    # measures, delays of frames that come alone and false alarms, does not depend on it.
    usual = options.episode_frames == DetectorOptions().episode_frames
    return "" if usual else f" episode_frames={options.episode_frames!r}"


@functools.lru_cache(maxsize=256)
def _bets(name: StreamName, baseline: Baseline, delta: float, kappa: float) -> Betting:
    match name:
        case StreamName.SEMANTIC | StreamName.DOMAIN | StreamName.CONFIDENCE:
            return _ranks(baseline.rows, delta, kappa, baseline.n_eff(name.value))
        case StreamName.CLASS_RATES:
            return class_rate_bets(
                baseline.class_counts,
                baseline.rows,
                baseline.vocab,
                delta=delta,
                kappa=kappa,
                n_eff=baseline.n_eff("classes"),
            )
        case StreamName.FLAG_RATE:
            rows = baseline.flagged
            if rows is None:
                raise TooFewRows("watching the flag rate", 0, 1)
            return flag_bets(
                rows.flagged,
                rows.beyond,
                baseline.rows,
                delta=delta,
                kappa=kappa,
                n_eff=baseline.n_eff("flagged"),
                joint=rows.joint,
            )
        case StreamName.PROPERTIES:
            counts = {name: len(values) for name, values in baseline.properties.items()}
            worth = {
                name: found
                for name, count in counts.items()
                if (found := baseline.n_eff(f"property.{name}", count)) is not None
            }
            return property_bets(counts, delta=delta, kappa=kappa, n_eff=worth)


@functools.lru_cache(maxsize=1_024)
def _ranks(rows: int, delta: float, kappa: float, n_eff: float | None) -> Bets:
    # Tables never change, and a model with many segments needs many of them at every pass.
    return rank_bets(rows, delta=delta, kappa=kappa, n_eff=n_eff)


def _segment_ranks(key: StreamKey, baseline: Baseline, delta: float, kappa: float) -> Bets:
    rows = baseline.segments[key.segment].rows
    return _ranks(rows, delta, kappa, baseline.n_eff(key.stream.value, rows))
