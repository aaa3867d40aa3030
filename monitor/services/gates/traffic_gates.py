"""Gates on what the gateways recorded: flagged inputs, latency, errors, arms, losses, drift."""

import math

import numpy as np
import pyarrow as pa

from monitor.domain import Arm, Stage
from monitor.rollouts.gate import (
    EventLossGate,
    GatewayErrorGate,
    LatencyGate,
    OutOfDomainGate,
)
from monitor.rollouts.plan import Position
from monitor.rollouts.verdict import Outcome
from monitor.services.gates.judging import (
    Bar,
    Judged,
    duration,
    judge_share,
    percent,
    too_few,
    unknown,
    unreadable,
)
from monitor.services.gates.tally import Tally
from monitor.services.references import Reference
from monitor.stats.gates import share_limit
from monitor.stats.gates.evidence import Evidence
from monitor.stats.gates.flag_limits import FlagRates, healthy_rates
from monitor.stats.gates.sample_ratio import log_evidence_of_mismatch
from monitor.stats.gates.spike import log_spike_evidence
from monitor.store.epoch_events import Loss

FAST_ALPHA = 0.001
"""Chance that a fast lane fails falsely in all of a step: its own, beside that of the gate."""


def arms_of(stage: Stage) -> tuple[Arm, ...]:
    """Name the arms the candidate answers for: only these speak for or against it."""
    return (Arm.SHADOW,) if stage is Stage.SHADOW else (Arm.TREATMENT, Arm.HOLD_OUT)


def decided_arms_of(stage: Stage) -> tuple[Arm, ...]:
    """Name the arms whose cases people decide because the plan or a draw says so.

    In the model's own arm they decide what the model was unsure of, which says nothing of the rest.
    """
    if stage is Stage.SHADOW:
        return (Arm.SHADOW,)
    return Arm.CONTROL, Arm.HOLD_OUT, Arm.SHADOW


def flag_rates(reference: Reference, delta: float) -> tuple[FlagRates, bool]:
    """Give between which rates healthy episodes are flagged, and whether that is promised."""
    baseline = reference.baseline
    rule = baseline.flagged
    if rule is None or not reference.certified:
        low, high = reference.flag_band
        return FlagRates(low=low, high=high), False
    worth = baseline.n_eff("flagged")
    part = 1.0 if worth is None else worth / baseline.rows
    shared = 0 if rule.joint else rule.beyond
    return healthy_rates(rule.flagged, shared, baseline.rows, delta, part), True


def judge_flags(
    gate: OutOfDomainGate, tally: Tally, reference: Reference, stage: Stage, bar: Bar
) -> Judged:
    """Judge the share of flagged episodes against what healthy ones may show, given the reference.

    Half of each α is for the traffic, half for the reference: a failure is more than the highest
    healthy rate allows, a pass less than the lowest does.
    """
    seen = tally.arm(*arms_of(stage))
    halved = Bar(
        alpha=bar.alpha / 2,
        alpha_failing=bar.alpha_failing / 2,
        min_n=bar.min_n,
        elapsed_s=bar.elapsed_s,
    )
    rates, promised = flag_rates(reference, min(halved.alpha, halved.alpha_failing))
    least, most = rates.low + gate.max_increase, rates.high + gate.max_increase
    if not (least > 0 and most < 1):
        return unreadable(
            f"healthy episodes are flagged at up to {percent(rates.high)}; with "
            f"{percent(gate.max_increase)} more that is no limit. Set a smaller max_increase, or "
            "import with more calibration rows"
        )
    k, n = seen.flagged, seen.scored
    found = Evidence(
        n=n,
        estimate=k / n if n else None,
        lower=share_limit.lower_bound(k, n, halved.alpha_failing),
        upper=share_limit.upper_bound(k, n, halved.alpha),
        log_above=float(share_limit.log_evidence_above(k, n, most)),
        log_below=float(share_limit.log_evidence_below(k, n, least)),
    )
    judged = judge_share(
        found,
        halved,
        limit=most if found.log_above >= halved.failing else least,
        wants_more=False,
        what="the share of flagged episodes",
        units="episodes",
    )
    band = f"healthy ones: {percent(rates.low)} to {percent(rates.high)}"
    promise = "" if promised else ", by a reference that promises nothing"
    return Judged(
        outcome=judged.outcome,
        reason=f"{judged.reason} ({band}{promise})",
        n=judged.n,
        estimate=judged.estimate,
        lower=judged.lower,
        upper=judged.upper,
        log_evidence=judged.log_evidence,
    )


def judge_flood(
    gate: OutOfDomainGate, recent: pa.Table, reference: Reference, max_duration_s: float
) -> Judged | None:
    """Look for a sudden flood of flagged episodes in the fast window; None when there is none.

    Parameters
    ----------
    gate
        With its fast lane.
    recent
        ``at`` and ``flagged`` of the window's episodes, in the order of time.
    reference
        Of the candidate.
    max_duration_s
        Of the step: its grants are spread over it.
    """
    n = recent.num_rows
    if gate.fast_window_s is None or n < max(1, gate.fast_min_n):
        return None
    flagged = recent["flagged"].to_numpy(zero_copy_only=False).astype(bool)
    rates, _ = flag_rates(reference, FAST_ALPHA / 2)
    healthy = rates.high + gate.max_increase
    share = float(flagged.mean())
    if share < gate.fast_max or not healthy < gate.fast_max < 1:
        return None
    at = recent["at"].cast(pa.int64()).to_numpy() / 1e6
    waits = np.diff(at, prepend=at[0] - gate.fast_window_s / n)
    grants = np.maximum(waits, 0) / max_duration_s
    grown = log_spike_evidence(flagged, grants, healthy=healthy, spike=gate.fast_max)
    evidence = float(grown[-1])
    if evidence < -math.log(FAST_ALPHA / 2):
        return None
    return Judged(
        outcome=Outcome.FAIL,
        reason=(
            f"a flood: {percent(share)} of the {n} episodes of the last "
            f"{duration(gate.fast_window_s)} are flagged; the fast lane fails at "
            f"{percent(gate.fast_max)}"
        ),
        n=n,
        estimate=share,
        log_evidence=evidence,
    )


def judge_drift(
    log_peak: float | None,
    tally: Tally,
    reference: Reference,
    bar: Bar,
) -> Judged:
    """Judge the streams' evidence: it passes where nothing was found in enough episodes."""
    n = tally.drift_episodes
    if not reference.certified:
        return unknown(
            "the candidate's reference supports no promise "
            f"({reference.manifest.certified_reason}): its streams are charts. Import with more "
            "held-out rows, or do without this gate",
            n,
        )
    if log_peak is None:
        return unknown(too_few(n, bar, "episodes"), n)
    found = log_peak >= bar.failing
    outcome = Outcome.FAIL if found else Outcome.PASS
    if n < max(1, bar.min_n):
        return unknown(too_few(n, bar, "episodes"), n)
    told = (
        "what it sees has left its reference"
        if found
        else "nothing speaks for a change of what it sees; a small one may be there"
    )
    return Judged(
        outcome=outcome,
        reason=(
            f"{told}: evidence of {math.exp(min(log_peak, 700.0)):.3g} in {n} episodes, "
            f"{math.exp(bar.failing):.3g} fails"
        ),
        n=n,
        log_evidence=log_peak,
    )


def judge_latency(gate: LatencyGate, tally: Tally, bar: Bar) -> Judged:
    """Judge the share of answers slower than the limit."""
    limit = 1 - gate.quantile
    slow, n = tally.slow.get(repr(gate.max_ms), 0), tally.answered
    found = share_limit.judge_share(slow, n, limit, above=bar.alpha_failing, below=bar.alpha)
    return judge_share(
        found,
        bar,
        limit=limit,
        wants_more=False,
        what=f"the share of answers slower than {gate.max_ms:g} ms",
        units="answers",
    )


def judge_errors(gate: GatewayErrorGate, tally: Tally, bar: Bar) -> Judged:
    """Judge the share of requests that failed; what was refused is not counted."""
    found = share_limit.judge_share(
        tally.failed,
        tally.answered + tally.failed,
        gate.max_upper_bound,
        above=bar.alpha_failing,
        below=bar.alpha,
    )
    return judge_share(
        found,
        bar,
        limit=gate.max_upper_bound,
        wants_more=False,
        what="the share of failed requests",
        units="requests",
    )


def judge_sample_ratio(tally: Tally, position: Position, bar: Bar) -> Judged:
    """Judge whether units fall into the arms as the step's share says."""
    share = position.share / 100
    if position.stage not in {Stage.GRADUAL, Stage.FULL} or not 0 < share < 1:
        return unknown(
            f"there are no arms to compare in {position.stage} at {position.share:g} %: name the "
            "stages that have them in this gate's `stages`"
        )
    model, control = tally.arm(*arms_of(position.stage)).units, tally.arm(Arm.CONTROL).units
    n = model + control
    if n < max(1, bar.min_n):
        return unknown(too_few(n, bar, "units"), n)
    evidence = float(log_evidence_of_mismatch([model, control], [share, 1 - share]))
    failed = evidence >= bar.failing
    told = "surely not as planned" if failed else "nothing speaks against the plan"
    return Judged(
        outcome=Outcome.FAIL if failed else Outcome.PASS,
        reason=(
            f"{model} of {n} units are in the model's arm, {percent(model / n)}; planned are "
            f"{percent(share)}: {told}"
        ),
        n=n,
        estimate=model / n,
        log_evidence=evidence,
    )


def judge_loss(gate: EventLossGate, found: Loss, bar: Bar) -> Judged:
    """Judge the share of answers whose record is missing: counted, not estimated."""
    n = found.accounted
    if n < max(1, bar.min_n):
        return unknown(too_few(n, bar, "answers"), n)
    share = found.lost / n
    return Judged(
        outcome=Outcome.PASS if share <= gate.max else Outcome.FAIL,
        reason=(
            f"{found.lost} of {n} answers left no record, {percent(share)}; the limit is "
            f"{percent(gate.max)}"
        ),
        n=n,
        estimate=share,
        lower=share,
        upper=share,
    )
