"""The evidence for a go/no-go decision about a rollout, in one document.

It says what speaks for going on, what against, and what is not known; it decides nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from monitor.domain import Alarm
from monitor.rollouts.chain import Link
from monitor.rollouts.plan import RolloutPlan, positions
from monitor.rollouts.premortem import unmonitored
from monitor.rollouts.rollout import Rollout
from monitor.rollouts.state import Running
from monitor.rollouts.verdict import Outcome, Verdict
from monitor.services.context import Context
from monitor.services.seals import veiled
from monitor.services.trial.case import TrialCase
from monitor.services.trial.cases import read_cases
from monitor.services.trial.counting import first_of_episodes
from monitor.services.trial.report import ActionAlarm, TrialReport, report
from monitor.services.trial.show import find_attempt, vocabulary_of
from monitor.store.alarms import Alarms
from monitor.store.bundles import Bundles
from monitor.store.engine import reading
from monitor.store.gates import GateVerdicts
from monitor.store.payloads import Payloads
from monitor.store.rollouts import Rollouts
from reference_data.errors import BundleError

SHOWN = 24
"""Disagreements shown with their pictures."""
MOST_ALARMS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskStanding:
    """A risk of the premortem and what its signal says now."""

    name: str
    signal: str | None
    monitored: bool
    says: str
    """What the signal says; that nothing watches it, when nothing does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flagged:
    """How many of the trial's episodes were unlike training."""

    count: int
    of: int
    low: float | None
    high: float | None
    """Rates between which healthy inputs are flagged; None when the bundle is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What is known, sorted by which way it points."""

    speaks_for: tuple[str, ...]
    speaks_against: tuple[str, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """All of it."""

    name: str
    model: str
    version: str
    bundle_sha: str
    attempt: int
    plan: RolloutPlan
    plan_hash: str
    started_at: datetime
    ended_at: datetime | None
    stage: str
    step: int
    steps: int
    status: str
    status_detail: str
    trial: TrialReport
    flagged: Flagged
    verdicts: tuple[Verdict, ...]
    alarms: tuple[Alarm, ...]
    risks: tuple[RiskStanding, ...]
    events: tuple[Link, ...]
    balance: Balance
    exhibits: tuple[TrialCase, ...]
    """Disagreements, the latest first, those with a picture before those without."""


def compile_dossier(context: Context, name: str, *, attempt: int | None = None) -> Dossier:
    """Gather a rollout's dossier.

    Raises
    ------
    NotFound
        If there is no such rollout or attempt.
    """
    rollout = find_attempt(context, name, attempt)
    cases = read_cases(context, rollout)
    trial = report(rollout.plan, cases, vocabulary_of(context, rollout))
    with reading(context.engine) as conn:
        stored = GateVerdicts(conn).newest(rollout.id)
        alarms = [
            alarm
            for alarm in Alarms(conn).all(model=rollout.model, limit=MOST_ALARMS)
            if alarm.bundle_sha == rollout.bundle_sha and alarm.opened_at >= rollout.started_at
        ]
        events = Rollouts(conn).events(rollout.id)
    alarms = veiled(context, alarms)
    verdicts = [msgspec.json.decode(each.document, type=Verdict) for each in stored.values()]
    order = {gate.id: place for place, gate in enumerate(rollout.plan.gates)}
    verdicts.sort(key=lambda verdict: order.get(verdict.gate, len(order)))
    risks = _risks(rollout.plan, verdicts, alarms)
    flagged = _flagged(context, rollout, cases)
    position = rollout.position
    return Dossier(
        name=rollout.name,
        model=rollout.model,
        version=rollout.version,
        bundle_sha=rollout.bundle_sha,
        attempt=rollout.attempt,
        plan=rollout.plan,
        plan_hash=rollout.plan_hash,
        started_at=rollout.started_at,
        ended_at=rollout.ended_at,
        stage=position.stage.value,
        step=position.index + 1,
        steps=len(positions(rollout.plan)),
        status=status_word(rollout),
        status_detail=status_detail(rollout),
        trial=trial,
        flagged=flagged,
        verdicts=tuple(verdicts),
        alarms=tuple(alarms),
        risks=tuple(risks),
        events=tuple(events),
        balance=weigh(trial, flagged, verdicts, alarms, risks),
        exhibits=_exhibits(context, trial),
    )


def pictures(context: Context, dossier: Dossier) -> dict[str, bytes]:
    """Read the small pictures of a dossier's exhibits that are still there, by event."""
    payloads = Payloads(context.settings.store.payloads)
    found = {case.event_id: payloads.get(case.picture) for case in dossier.exhibits}
    return {event_id: jpeg for event_id, jpeg in found.items() if jpeg is not None}


def weigh(
    trial: TrialReport,
    flagged: Flagged,
    verdicts: Sequence[Verdict],
    alarms: Sequence[Alarm],
    risks: Sequence[RiskStanding],
) -> Balance:
    """Sort what is known into what speaks for going on, against it, and what is not known."""
    good: list[str] = []
    bad: list[str] = []
    open_: list[str] = []
    sides = {
        Outcome.PASS: good,
        Outcome.FAIL: bad,
        Outcome.INCONCLUSIVE: open_,
        Outcome.ERROR: open_,
    }
    for verdict in verdicts:
        mark = " (dry run)" if verdict.dry_run else ""
        sides[verdict.outcome].append(f"gate {verdict.gate}{mark}: {verdict.reason}")
    match trial.action_alarm:
        case ActionAlarm.WITHIN:
            good.append("the model would act neither twice nor half as often as people do")
        case ActionAlarm.DOUBLED:
            bad.append("the model would act more than twice as often as people do")
        case ActionAlarm.HALVED:
            bad.append("the model would act less than half as often as people do")
        case ActionAlarm.SHIFTED:
            bad.append("the model would not act as often as people do; by how much is open")
        case ActionAlarm.UNKNOWN:
            open_.append("whether the model would act as often as people do: too few actions")
    _weigh_errors(trial, good, bad, open_)
    for alarm in alarms:
        standing = "stands open" if alarm.resolved_at is None else "resolved"
        words = str(alarm.kind).replace("_", " ")
        text = f"{words} alarm of {alarm.opened_at:%d %b %H:%M} {standing}"
        (bad if alarm.resolved_at is None else open_).append(text)
    if flagged.of and flagged.high is not None and flagged.count / flagged.of > flagged.high:
        bad.append(
            f"{flagged.count / flagged.of:.1%} of the episodes were flagged as unlike training; "
            f"healthy inputs are at most {flagged.high:.1%}"
        )
    open_.extend(f"risk “{risk.name}”: nothing watches it" for risk in risks if not risk.monitored)
    return Balance(speaks_for=tuple(good), speaks_against=tuple(bad), unknown=tuple(open_))


def _weigh_errors(trial: TrialReport, good: list[str], bad: list[str], open_: list[str]) -> None:
    model, human = trial.model_error, trial.human_error
    if model.estimate is None or human.estimate is None:
        open_.append("how often model and people are wrong: no case has been adjudicated")
    elif model.high <= human.low:
        good.append("the model is wrong less often than the people, by adjudicated cases")
    elif model.low > human.high:
        bad.append("the model is wrong more often than the people, by adjudicated cases")
    else:
        open_.append(
            f"whether model ({model.estimate:.1%}) or people ({human.estimate:.1%}) err more: "
            "their intervals overlap"
        )


def status_word(rollout: Rollout) -> str:
    """Name a rollout's status in a word or two."""
    if rollout.state.ended is not None:
        return rollout.state.ended.end.value.replace("_", " ")
    if isinstance(rollout.state.status, Running):
        return "running"
    return type(rollout.state.status).__name__.replace("AwaitingApproval", "awaiting approval")


def status_detail(rollout: Rollout) -> str:
    """Say what a hold is for; empty otherwise."""
    held = getattr(rollout.state.status, "held", ())
    return "; ".join(f"{each.reason.value}: {each.detail}" for each in held)


def _risks(
    plan: RolloutPlan, verdicts: Sequence[Verdict], alarms: Sequence[Alarm]
) -> list[RiskStanding]:
    unwatched = {risk.name for risk in unmonitored(plan)}
    by_gate = {verdict.gate: verdict for verdict in verdicts}
    by_kind: dict[str, list[Alarm]] = {}
    for alarm in alarms:
        by_kind.setdefault(alarm.kind.value, []).append(alarm)
    return [
        RiskStanding(
            name=risk.name,
            signal=risk.signal,
            monitored=risk.name not in unwatched,
            says=_says(risk.signal, risk.name in unwatched, plan, by_gate, by_kind),
        )
        for risk in plan.risks
    ]


def _says(
    signal: str | None,
    unwatched: bool,
    plan: RolloutPlan,
    by_gate: Mapping[str, Verdict],
    by_kind: Mapping[str, Sequence[Alarm]],
) -> str:
    if unwatched or signal is None:
        return "nothing watches it"
    if signal in by_gate:
        verdict = by_gate[signal]
        return f"{verdict.outcome}: {verdict.reason}"
    if any(gate.id == signal for gate in plan.gates):
        return "not measured yet"
    count = len(by_kind.get(signal, ()))
    return f"{count} alarm{'s' if count != 1 else ''} since the start"


def _flagged(context: Context, rollout: Rollout, cases: Sequence[TrialCase]) -> Flagged:
    counted = first_of_episodes(cases)
    low = high = None
    with reading(context.engine) as conn:
        registered = Bundles(conn).get(rollout.bundle_sha)
    if registered is not None:
        try:
            low, high = context.references.open(registered).flag_band
        except BundleError:
            pass
    return Flagged(count=sum(case.flagged for case in counted), of=len(counted), low=low, high=high)


def _exhibits(context: Context, trial: TrialReport) -> tuple[TrialCase, ...]:
    payloads = Payloads(context.settings.store.payloads)
    kept = [case for case in trial.disagreements if payloads.has(case.picture)]
    seen = {case.event_id for case in kept[:SHOWN]}
    rest = [case for case in trial.disagreements if case.event_id not in seen]
    return tuple([*kept[:SHOWN], *rest][:SHOWN])
