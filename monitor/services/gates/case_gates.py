"""Gates on cases that people decided: agreement, recall, errors."""

from collections.abc import Sequence

import numpy as np

from monitor.rollouts.gate import AgreementGate, ModelErrorGate
from monitor.rollouts.verdict import Outcome
from monitor.services.gates.decided import DecidedCase
from monitor.services.gates.judging import (
    Bar,
    Judged,
    judge_share,
    unknown,
)
from monitor.services.trial.counting import counted, weights
from monitor.stats.gates.bounded_mean import judge_mean
from monitor.stats.gates.evidence import Evidence
from monitor.stats.gates.share_limit import judge_share as share_evidence

CLASS_MIN_N = 30
"""Decided cases of a class from which on its recall is asked for."""
NO_TRUTHS = (
    "no case of this stage has been adjudicated yet; `fieldwatch review` hands disagreements and a "
    "share of agreements to a third reader"
)


class Adjudicated:
    """Cases whose truth is known, as columns."""

    def __init__(
        self,
        predictions: Sequence[str],
        humans: Sequence[str | None],
        truths: Sequence[str],
        chances: Sequence[float],
        *,
        least: float,
    ) -> None:
        """Hold the columns, [case].

        Parameters
        ----------
        predictions, humans, truths
            What the candidate said, the human decided (None when nobody did), and was so.
        chances
            With which each was adjudicated.
        least
            The least chance of the trial's design.
        """
        self.predictions, self.humans, self.truths = predictions, humans, truths
        self.chances = np.asarray(chances, dtype=np.float64)
        self.least = float(min([least, *self.chances.tolist()]))

    def __len__(self) -> int:
        return len(self.truths)


def judge_agreement(
    gate: AgreementGate, cases: Sequence[DecidedCase], bar: Bar, *, elsewhere: int
) -> Judged:
    """Judge how often the model says what the human decided, and each class's recall.

    What counts is said in `monitor.services.trial.counting`, as the trial's report counts it.
    """
    kept = counted(cases)
    overall = judge_share(
        _agreement(kept, gate.min_lower_bound, bar.alpha, bar.alpha_failing),
        bar,
        limit=gate.min_lower_bound,
        wants_more=True,
        what="agreement with the human decisions",
        units="decided cases",
    )
    if not cases and elsewhere:
        about = f"; the {elsewhere} decisions there are, are about nothing it answered in this step"
        return unknown(overall.reason + about)
    if gate.min_class_recall is None or len(kept) < bar.min_n:
        return overall
    return _with_recall(overall, _recalls(gate.min_class_recall, kept, bar))


def _agreement(
    cases: Sequence[DecidedCase], limit: float, passing: float, failing: float
) -> Evidence:
    """Weigh what cases that count say of the share of agreements."""
    agree = np.array([case.prediction == case.label for case in cases], dtype=np.float64)
    drawn = weights(cases)
    if drawn is None:
        return share_evidence(float(agree.sum()), len(agree), limit, above=passing, below=failing)
    return judge_mean(
        agree, drawn, limit, above=passing, below=failing, least=float(1 / drawn.max())
    )


def _recalls(limit: float, cases: Sequence[DecidedCase], bar: Bar) -> dict[str, Judged]:
    """Judge the classes with enough cases that count; they share the α of a failure."""
    by_class: dict[str, list[DecidedCase]] = {}
    for case in cases:
        by_class.setdefault(case.label, []).append(case)
    asked = {name: mine for name, mine in by_class.items() if len(mine) >= CLASS_MIN_N}
    found = {}
    for name, mine in sorted(asked.items()):
        share = Bar(
            alpha=bar.alpha,
            alpha_failing=bar.alpha_failing / len(asked),
            min_n=1,
            elapsed_s=bar.elapsed_s,
        )
        found[name] = judge_share(
            _agreement(mine, limit, share.alpha, share.alpha_failing),
            share,
            limit=limit,
            wants_more=True,
            what=f"recall of {name}",
            units="decided cases",
        )
    return found


def _with_recall(overall: Judged, recalls: dict[str, Judged]) -> Judged:
    """Let a class speak that stands worse than the whole."""
    for outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE):
        if overall.outcome is outcome:
            return overall
        for worst in recalls.values():
            if worst.outcome is outcome:
                reason = f"{worst.reason} (overall: {overall.reason})"
                return Judged(
                    outcome=outcome,
                    reason=reason,
                    n=overall.n,
                    estimate=worst.estimate,
                    lower=worst.lower,
                    upper=worst.upper,
                    log_evidence=worst.log_evidence,
                )
    return overall


def judge_error(gate: ModelErrorGate, known: Adjudicated, bar: Bar) -> Judged:
    """Judge the model's error rate against adjudicated truth."""
    if not len(known):
        return unknown(NO_TRUTHS)
    wrong = [said != true for said, true in zip(known.predictions, known.truths, strict=True)]
    found = judge_mean(
        np.array(wrong, dtype=np.float64),
        1 / known.chances,
        gate.max_upper_bound,
        above=bar.alpha_failing,
        below=bar.alpha,
        least=known.least,
    )
    return judge_share(
        found,
        bar,
        limit=gate.max_upper_bound,
        wants_more=False,
        what="the model's error",
        units="adjudicated cases",
    )
