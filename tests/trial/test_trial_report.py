"""What a trial shows: agreement, errors by adjudicated truth, costs, and how often each acts."""

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest
from scipy import stats

from monitor.rollouts.gate import AgreementGate, Reaction
from monitor.rollouts.plan import Mistake, Objective, Trial
from monitor.services.gates.case_gates import judge_agreement
from monitor.services.gates.decided import DecidedCase
from monitor.services.gates.judging import Bar
from monitor.services.trial.case import NOT_ANY_CLASS, TrialCase
from monitor.services.trial.counting import first_of_episodes
from monitor.services.trial.report import (
    ActionAlarm,
    alarm_of,
    price,
    report,
)
from monitor.services.trial.second_look import adjudication_chance, drawn, wanted_readings
from monitor.stats.gates.paired_ratio import paired_ratio
from tests.rollouts.attempts import Attempt
from tests.rollouts.plans import BEARS

NOW = datetime(2026, 11, 23, 14, tzinfo=UTC)
VOCABULARY = ("black", "grizzly", "teddy")


def _case(number: int, prediction: str, human: str, **changes: object) -> TrialCase:
    fields: dict[str, object] = {
        "event_id": f"event-{number}",
        "case_id": f"case-{number}",
        "episode_id": f"episode-{number}",
        "at": NOW + timedelta(seconds=number),
        "unit": "cam-1",
        "segment": {"site": "north" if number % 2 else "south"},
        "prediction": prediction,
        "confidence": 0.9,
        "flagged": False,
        "picture": None,
        "human": human,
        "human_by": "ranger",
        "model_acts": prediction == "grizzly",
        "human_acts": human == "grizzly",
    }
    return TrialCase(**(fields | changes))  # type: ignore[arg-type]


def test_a_trial_counts_episodes_and_shows_who_said_what() -> None:
    cases = [
        _case(1, "black", "black"),
        _case(2, "black", "grizzly", episode_id="episode-1"),
        _case(3, "grizzly", "grizzly", second="grizzly"),
        _case(4, "teddy", "black", second="teddy"),
    ]
    found = report(BEARS, cases, VOCABULARY)
    assert (found.cases, found.episodes) == (4, 3)
    assert (found.agreement.agreed, found.agreement.cases) == (2, 3)
    assert found.confusion == ((1, 0, 0), (0, 1, 0), (1, 0, 0))
    assert (found.ceiling.agreed, found.ceiling.cases) == (1, 2)
    assert {share.name: share.cases for share in found.by_segment} == {
        "site=north": 2,
        "site=south": 1,
    }
    assert [case.event_id for case in found.disagreements] == ["event-4", "event-2"]


def test_without_cases_everything_is_unknown_and_nothing_is_healthy() -> None:
    found = report(BEARS, [], VOCABULARY)
    assert found.action_alarm is ActionAlarm.UNKNOWN
    assert found.agreement.raw.estimate is None
    assert (found.model_error.estimate, found.model_error.high) == (None, 1.0)


def test_a_label_outside_the_vocabulary_gets_a_column_of_its_own() -> None:
    found = report(BEARS, [_case(1, "black", "wolf")], VOCABULARY)
    assert found.vocabulary == (*VOCABULARY, "wolf")
    assert found.confusion[0] == (0, 0, 0, 1)


def test_the_first_price_that_matches_counts_and_an_unpriced_mistake_costs_one() -> None:
    objective = Objective(
        statement="no bear unseen",
        costs=(
            Mistake(truth="grizzly", prediction="teddy", cost=50.0),
            Mistake(truth="grizzly", prediction="*", cost=10.0),
        ),
    )
    assert price(objective, "grizzly", "teddy") == 50.0
    assert price(objective, "grizzly", "black") == 10.0
    assert price(objective, "black", "grizzly") == 1.0
    assert price(objective, "grizzly", "grizzly") == 0.0
    assert price(objective, NOT_ANY_CLASS, "grizzly") == 1.0


@pytest.mark.parametrize(
    ("both", "model_only", "human_only", "alarm"),
    [
        (0, 0, 0, ActionAlarm.UNKNOWN),
        (5, 1, 1, ActionAlarm.UNKNOWN),
        (150, 5, 5, ActionAlarm.WITHIN),
        (60, 260, 0, ActionAlarm.DOUBLED),
        (60, 0, 260, ActionAlarm.HALVED),
        (60, 40, 0, ActionAlarm.SHIFTED),
    ],
)
def test_twice_or_half_as_many_actions_raise_the_built_in_alarm(
    both: int, model_only: int, human_only: int, alarm: ActionAlarm
) -> None:
    assert alarm_of(paired_ratio(both, model_only, human_only, low=0.5, high=2.0)) is alarm


def test_an_episode_counts_once_with_its_first_case() -> None:
    cases = [_case(n, "black", "black", episode_id="one") for n in range(5)]
    assert [case.event_id for case in first_of_episodes(cases)] == ["event-0"]


@pytest.mark.parametrize("drawn_with", [None, (0.1, 1.0)])
def test_the_report_and_the_gate_say_the_same_of_the_same_cases(
    drawn_with: tuple[float, ...] | None,
) -> None:
    """Bursts of very different length, whose cases agree alike; some with a changing mind."""
    rng = np.random.default_rng(7)
    cases: list[TrialCase] = []
    for episode in range(120):
        right = rng.random() < 0.8
        for _ in range(int(rng.integers(1, 12))):
            said = right ^ (rng.random() < 0.2)
            chance = None if drawn_with is None else drawn_with[int(rng.integers(2))]
            cases.append(
                _case(
                    len(cases),
                    "black" if said else "grizzly",
                    "black",
                    episode_id=f"episode-{episode}",
                    inclusion_probability=chance,
                )
            )
    shown = report(BEARS, cases, VOCABULARY).agreement
    asked = AgreementGate(
        id="agreement",
        on_fail=Reaction.HOLD,
        min_n=10,
        min_lower_bound=0.6,
        min_class_recall=0.5,
    )
    bar = Bar(alpha=0.05, alpha_failing=0.05, min_n=10, elapsed_s=60.0)
    judged = judge_agreement(asked, [_decided(case) for case in cases], bar, elsewhere=0)

    assert (judged.n, shown.cases) == (120, 120)
    assert judged.estimate == pytest.approx(shown.raw.estimate)
    assert shown.raw.low <= (shown.raw.estimate or 0.0) <= shown.raw.high
    if drawn_with is None:
        first = [case.agreed for case in first_of_episodes(cases)]
        assert shown.raw.estimate == pytest.approx(np.mean(first))
    else:
        assert shown.raw.estimate != pytest.approx(shown.agreed / shown.cases)


def _decided(case: TrialCase) -> DecidedCase:
    return DecidedCase(
        event_id=case.event_id,
        episode_id=case.episode_id,
        arm=None,
        prediction=case.prediction,
        label=case.human,
        inclusion_probability=case.inclusion_probability,
        model_acts=case.model_acts,
        human_acts=case.human_acts,
        acted=False,
        by_model=False,
    )


@pytest.mark.statistics
def test_errors_of_both_are_unbiased_and_covered_though_only_some_agreements_are_adjudicated() -> (
    None
):
    """Model wrong 10 %, human 3 %, half of the human's mistakes shared: verification bias bites."""
    rng = np.random.default_rng(3)
    design = Trial(second_reader_share=0.0, adjudicated_agreement_share=0.2)
    plan = msgspec.structs.replace(BEARS, trial=design)
    rounds, cases = 40, 1_000
    estimates, covered = [], np.zeros(2)
    for round_ in range(rounds):
        human_wrong = rng.random(cases) < 0.03
        model_wrong = np.where(human_wrong, rng.random(cases) < 0.5, rng.random(cases) < 0.0866)
        found = []
        for n in range(cases):
            human = "black" if not human_wrong[n] else "grizzly"
            prediction = "black" if not model_wrong[n] else "grizzly"
            case = _case(n, prediction, human, event_id=f"{round_}/{n}")
            chance = adjudication_chance(design, agreed=case.agreed)
            settled = drawn("adjudicate", case.event_id) < chance
            found.append(
                _case(
                    n,
                    prediction,
                    human,
                    event_id=f"{round_}/{n}",
                    truth="black" if settled else None,
                    chance=chance if settled else None,
                )
            )
        shown = report(plan, found, VOCABULARY)
        assert shown.model_error.estimate is not None
        assert shown.human_error.estimate is not None
        estimates.append((shown.model_error.estimate, shown.human_error.estimate))
        truth = (0.97 * 0.0866 + 0.03 * 0.5, 0.03)
        covered += [
            shown.model_error.low <= truth[0] <= shown.model_error.high,
            shown.human_error.low <= truth[1] <= shown.human_error.high,
        ]
    mean, spread = np.mean(estimates, axis=0), np.std(estimates, axis=0)
    assert (np.abs(mean - truth) < 4 * spread / rounds**0.5).all(), (mean, truth)
    assert (covered >= stats.binom.ppf(1e-4, rounds, 0.95)).all(), covered


def test_cases_read_so_far_are_a_fair_sample_of_those_asked_for() -> None:
    """Half of the queue is read: doubtful cases and disagreements must not have come first."""
    design = Trial(second_reader_share=0.0, adjudicated_agreement_share=0.5)
    rollout = Attempt(msgspec.structs.replace(BEARS, trial=design)).rollout
    cases = [
        _case(
            n,
            "grizzly" if n % 5 == 0 else "black",
            "black",
            event_id=f"e{n}",
            confidence=0.3 if n % 5 == 0 else 0.99,
        )
        for n in range(4_000)
    ]
    asked = sorted(wanted_readings(rollout, cases), key=lambda item: -item.priority)
    read = asked[: len(asked) // 2]
    disagreeing = sum(item.prediction == "grizzly" for item in read)
    # Every disagreement is asked about: 800 of some 2,400.
    share = 800 / len(asked)
    low, high = stats.hypergeom.interval(1 - 1e-6, len(asked), 800, len(read))
    assert low <= disagreeing <= high, f"{disagreeing} of {len(read)}, not about {share:.0%}"
