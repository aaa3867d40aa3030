"""Do the detectors alarm on held-out rows? Streamed as traffic, and no row twice in a replay.

Every replay divides the rows anew: two thirds calibrate, the others are streamed once, in random
order, in batches as they arrive, through the configured streams. Streaming rows again, or rows
that calibrated, would be drift, and a certified detector rightly says so.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from monitor.certificate import NullReplay, Traffic
from monitor.services.drills.holdings import Holdings
from monitor.services.drills.passages import Judge
from monitor.services.streams.baseline import Baseline, count_flagged, pick_properties
from monitor.settings import DetectorOptions
from monitor.stats.share import flagged_share
from monitor.stats.streams.replay import alarm_rate, excess, flagged_excess
from reference_data.conformal import unsureness
from reference_data.held_out import HeldOut
from reference_data.judgement import Calibration
from reference_data.scores.forward import softmax
from reference_data.scores.joint import JointScore

CALIBRATING = 2 / 3
"""Share of the rows that calibrate in a replay."""
MOST_STREAMED = 2_000
"""Rows streamed in a replay: more would take minutes and show little more."""

Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """What capital the clock grants, event by event."""

    per_event: float
    """1 where the budget counts episodes, else the seconds between them."""
    batch: int
    """Events read at once: the grant of all of them comes before the first."""

    @classmethod
    def of(cls, options: DetectorOptions, traffic: Traffic) -> "Grants":
        """Read the clock and the traffic."""
        if options.clock == "episodes":
            return cls(per_event=1.0, batch=1)
        return cls(per_event=3600 / traffic.episodes_per_hour, batch=traffic.batch)

    def over(self, events: int) -> npt.NDArray[np.float64]:
        """List the grants before each of so many events."""
        granted = np.zeros(events)
        granted[:: self.batch] = self.per_event * self.batch
        return granted


def divide(rows: int, rng: np.random.Generator) -> tuple[Places, Places]:
    """Divide rows into those that calibrate and those that are streamed, none in both."""
    shuffled = rng.permutation(rows).astype(np.intp)
    cut = round(CALIBRATING * rows)
    return shuffled[:cut], shuffled[cut : cut + MOST_STREAMED]


def replay(
    rows: HeldOut,
    baseline: Baseline,
    holdings: Holdings,
    options: DetectorOptions,
    grants: Grants,
    *,
    alpha: float,
    band: tuple[float, float],
    own: Judge,
    replays: int,
    rng: np.random.Generator,
    advance: Callable[[int], None],
) -> NullReplay:
    """Replay the null.

    Parameters
    ----------
    rows
        Held-out rows, one per episode.
    baseline
        The bundle's; each replay makes one like it from the rows that calibrate.
    holdings, options, grants
        As the installation has them.
    alpha, band
        Flagging threshold, and the rates it may have on healthy rows.
    own
        The bundle's own calibration, for the rate at which rows that calibrated nothing are
        flagged.
    """
    alarming = alarms = events = 0
    calibrating = 0
    seen = np.zeros(len(rows), dtype=np.bool_)
    for number in range(replays):
        fitted, streamed = divide(len(rows), rng)
        calibration, stream_rows = rows.take(fitted), rows.take(streamed)
        judge, like = _calibrate(calibration, baseline, alpha, own.vocab, own.calibration.joining)
        episodes = judge.episodes(stream_rows, f"null/{number}")
        given = grants.over(len(episodes)).tolist()
        crossed = sum(
            len(stream.play(stream.fresh(), episodes, given).crossings)
            for stream in holdings.open("drill", like).values()
        )
        alarms += crossed
        alarming += crossed > 0
        events += len(episodes)
        calibrating = len(fitted)
        seen[streamed] = True
        advance(1)
    length = events / replays
    # A healthy stream's capital exceeds c before time t with probability at most t/c, whatever the
    # number of looks (Doob), unless the reference is one of the unlucky δ.
    chance = length * grants.per_event / options.run_length + holdings.delta
    flagged = _flags(rows, own, alpha)
    share = flagged_share(sum(flagged), len(flagged), 1)
    rule = baseline.flagged
    beyond, joint = (0, True) if rule is None else (rule.beyond, rule.joint)
    worth = baseline.n_eff("flagged") or baseline.rows
    return NullReplay(
        replays=replays,
        calibrating=calibrating,
        alarming=alarming,
        alarms=alarm_rate(alarms, events, int(seen.sum())),
        p_value=excess(alarming, replays, chance),
        promise=_promise(options, grants),
        flagged=sum(flagged),
        looked_at=len(flagged),
        flagged_low=share.low,
        flagged_high=share.high,
        flag_band=band,
        flag_p_value=flagged_excess(
            sum(flagged),
            len(flagged),
            round(beyond * worth / baseline.rows),
            round(worth),
            joint=joint,
        ),
    )


def _calibrate(
    calibration: HeldOut,
    baseline: Baseline,
    alpha: float,
    vocab: tuple[str, ...],
    joining: JointScore | None,
) -> tuple[Judge, Baseline]:
    n = len(calibration)
    predicted = calibration.logits.argmax(axis=1)
    like = replace(
        baseline,
        rows=n,
        unsureness=np.sort(unsureness(softmax(calibration.logits).max(axis=1))),
        class_counts=np.bincount(predicted, minlength=len(vocab)).astype(np.int64),
        flagged=count_flagged(calibration, n, alpha, baseline.seed, joint=joining is not None),
        properties=pick_properties(calibration.properties),
        segments={},
        worth={},
    )
    judge = Judge(
        vocab=vocab,
        calibration=Calibration.of(calibration.semantic, calibration.domain, joining),
        seed=baseline.seed,
    )
    return judge, like


def _flags(rows: HeldOut, own: Judge, alpha: float) -> list[bool]:
    apart = rows.of_role("estimate", "temperature")
    return [episode.p_value <= alpha for episode in own.episodes(apart, "flags")]


def _promise(options: DetectorOptions, grants: Grants) -> str:
    kept = f"with probability {1 - options.delta:.0%} over references"
    if options.clock == "episodes":
        return f"at most one false alarm in {options.run_length:,.0f} episodes, {kept}"
    events = options.run_length / grants.per_event
    return (
        f"at most one false alarm in {options.false_alarm_days:g} days ({events:,.0f} episodes of "
        f"this traffic) in the whole installation, {kept}"
    )
