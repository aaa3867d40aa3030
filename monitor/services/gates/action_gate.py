"""Has the rate of actions doubled, or halved? The model's against the manual process'."""

from collections.abc import Sequence
from dataclasses import dataclass

from monitor.domain import Arm
from monitor.rollouts.gate import ActionRateGate
from monitor.rollouts.verdict import Outcome
from monitor.services.gates.decided import DecidedCase
from monitor.services.gates.judging import Bar, Judged, decide, too_few, unknown
from monitor.services.gates.tally import Tally
from monitor.stats.gates.paired_ratio import paired_ratio
from monitor.stats.gates.rate_ratio import Ratio, rate_ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Episodes of one arm whose outcome is known."""

    acted: int
    known: int


def judge_pairs(gate: ActionRateGate, cases: Sequence[DecidedCase], bar: Bar) -> Judged:
    """Compare model and human on the same episodes: what it would do, with what they did."""
    episodes: dict[str, tuple[bool, bool]] = {}
    for case in cases:
        model, human = episodes.get(case.episode_id, (False, False))
        episodes[case.episode_id] = (model or case.model_acts, human or case.human_acts)
    pairs = list(episodes.values())
    found = paired_ratio(
        pairs.count((True, True)),
        pairs.count((True, False)),
        pairs.count((False, True)),
        low=gate.low,
        high=gate.high,
        alpha=min(bar.alpha, bar.alpha_failing),
    )
    return _judge(
        gate,
        found,
        bar,
        f"of {len(pairs)} decided episodes the model would act on {_count(pairs, 0)}, the humans "
        f"on {_count(pairs, 1)}",
        "decided episodes with an action",
    )


def judge_arms(
    gate: ActionRateGate, tally: Tally, cases: Sequence[DecidedCase], bar: Bar
) -> Judged:
    """Compare the model's arm with the control, decided the old way at the same time.

    What a human had in hand counts only where their decision is known: an episode nobody has
    reported on is neither.
    """
    model, manual = side(tally, cases, Arm.TREATMENT), side(tally, cases, Arm.CONTROL)
    if not model.known or not manual.known:
        missing = "the model's arm" if not model.known else "the control arm"
        return unknown(
            f"no episode of {missing} with a known outcome yet: {model.known} in the model's arm, "
            f"{manual.known} in the control arm"
        )
    found = rate_ratio(
        model.acted,
        manual.acted,
        model.known / (model.known + manual.known),
        low=gate.low,
        high=gate.high,
        alpha=min(bar.alpha, bar.alpha_failing),
    )
    return _judge(
        gate,
        found,
        bar,
        f"{model.acted} actions in {model.known} episodes of the model's arm, {manual.acted} in "
        f"{manual.known} of the control arm",
        "episodes with an action",
    )


def side(tally: Tally, cases: Sequence[DecidedCase], arm: Arm) -> Side:
    """Count the episodes of an arm whose outcome is known, and those acted on."""
    counted = tally.arm(arm)
    decided: dict[str, bool] = {}
    for case in cases:
        if case.arm == arm and not case.acted and not case.by_model:
            decided[case.episode_id] = decided.get(case.episode_id, False) or case.human_acts
    by_model = counted.episodes - counted.by_human
    acted = counted.acted + sum(decided.values())
    return Side(acted=acted, known=max(acted, by_model + len(decided)))


def _judge(gate: ActionRateGate, found: Ratio, bar: Bar, told: str, units: str) -> Judged:
    good = min(found.log_above_low, found.log_below_high)
    bad = max(found.log_below_low, found.log_above_high)
    outcome, evidence = decide(found.n, good, bad, bar)
    moved = found.lower > 1 or found.upper < 1
    early = moved and outcome is Outcome.INCONCLUSIVE
    value = "unknown" if found.estimate is None else f"{found.estimate:.3g}"
    span = f"surely between {found.lower:.3g} and {found.upper:.3g}"
    limits = f"the limits are {gate.low:g} and {gate.high:g}"
    reason = f"{told}: the ratio is {value}, {span}; {limits}"
    if outcome is Outcome.INCONCLUSIVE and early:
        reason += ". It is not 1, whatever more episodes say: held until it is settled"
    elif outcome is Outcome.INCONCLUSIVE and found.n < bar.min_n:
        reason = f"{told}: {too_few(found.n, bar, units)}"
    return Judged(
        outcome=outcome,
        reason=reason,
        n=found.n,
        estimate=found.estimate,
        lower=found.lower,
        upper=None if found.upper == float("inf") else found.upper,
        log_evidence=evidence,
        early_hold=early,
    )


def _count(pairs: Sequence[tuple[bool, bool]], place: int) -> int:
    return sum(pair[place] for pair in pairs)
