"""What cannot work is refused before it starts, with the place and the way out."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, given, settings

from monitor.domain import Stage
from monitor.rollouts.lint import can_start, lint
from monitor.rollouts.plan import RolloutPlan
from monitor.rollouts.plan_file import plan_from
from monitor.rollouts.plan_text import Syntax, parse
from monitor.rollouts.premortem import unmonitored
from monitor.rollouts.remark import Gravity
from monitor.rollouts.surroundings import ActiveRollout, Surroundings
from monitor.rollouts.time_to_decide import decisions
from tests.rollouts.plans import any_plan

EXAMPLE = Path(__file__).parents[2] / "examples/bears_rollout.yaml"
DATA, _ = parse(EXAMPLE.read_text(), Syntax.YAML)
PLAN = plan_from(DATA)
KNOWN = Surroundings(
    vocabulary=("bear", "other"),
    certified=True,
    flag_rate=0.05,
    people=frozenset({"anna", "ben", "cleo"}),
)

Change = Callable[[dict[str, Any]], object]


def _changed(change: Change) -> RolloutPlan:
    data = copy.deepcopy(DATA)
    assert isinstance(data, dict)
    change(data)
    return plan_from(data)


def _said(plan: RolloutPlan, gravity: Gravity, known: Surroundings = KNOWN) -> list[str]:
    return [str(each) for each in lint(plan, known) if each.gravity is gravity]


def _stage(data: dict[str, Any], index: int) -> dict[str, Any]:
    ((_, inner),) = data["stages"][index].items()
    assert isinstance(inner, dict)
    return inner


def test_the_example_has_nothing_to_be_said_of() -> None:
    assert lint(PLAN, KNOWN) == ()
    assert lint(PLAN) == ()


ERRORS: list[tuple[Change, str]] = [
    (
        lambda data: data.update(gates=data["gates"][-1:] * 101),
        "gates: are 101, and every look measures each of them",
    ),
    (
        lambda data: _stage(data, 2).update(steps=[n / 2 for n in range(1, 102)]),
        "stages[2].gradual.steps: are 101, each to be shown",
    ),
    (lambda data: data.update(unit="request_id"), "unit: 'request_id' names a request"),
    (lambda data: data.update(unit="traceId"), "unit: 'traceId' names a trace"),
    (lambda data: data.update(rollout="bears/../v7"), "rollout: cannot be 'bears/../v7'"),
    (lambda data: data.update(levers=[]), "levers: is empty: the model would never act"),
    (
        lambda data: data["levers"][0].update(prediction="baer"),
        "levers[0].prediction: the model knows no 'baer'. Did you mean bear?",
    ),
    (
        lambda data: data["levers"].append(dict(data["levers"][0])),
        "levers[1].prediction: 'bear' has a lever already",
    ),
    (
        lambda data: data["objective"]["costs"][0].update(truth="wolf"),
        "objective.costs[0].truth: the model knows no 'wolf'. Its classes are bear, other.",
    ),
    (
        lambda data: data["objective"]["costs"][0].update(cost=-1),
        "objective.costs[0].cost: is -1",
    ),
    (lambda data: data["traffic"].update(units=0), "traffic.units: is 0"),
    (lambda data: data["traffic"].update(action_share=5), "traffic.action_share: is 5"),
    (lambda data: data.update(hold_out=2), "hold_out: is 2. It is a share between 0 and 1."),
    (lambda data: data.update(max_staleness="1s"), "max_staleness: is 1 seconds"),
    (lambda data: data["stages"].pop(0), "stages: shadow is missing"),
    (lambda data: data["stages"].reverse(), "stages: they are full, gradual, limited, shadow"),
    (
        lambda data: _stage(data, 0).update(max_duration="6d"),
        "stages[0].shadow.max_duration: is shorter than min_duration",
    ),
    (
        lambda data: _stage(data, 3).update(max_duration="6d"),
        "stages[3].full.max_duration: is shorter than for",
    ),
    (
        lambda data: _stage(data, 1)["windows"][0].update(tz="America/Denvr"),
        "stages[1].limited.windows[0].tz: there is no time zone 'America/Denvr'. "
        "Did you mean America/Denver?",
    ),
    (
        lambda data: _stage(data, 1)["windows"][0].update(tz="../../etc/passwd"),
        "stages[1].limited.windows[0].tz: there is no time zone '../../etc/passwd'",
    ),
    (lambda data: _stage(data, 1).update(units=[]), "stages[1].limited.units: is empty"),
    (
        lambda data: _stage(data, 1).update(units=["cam-03", "cam-03"]),
        "stages[1].limited.units: names a unit twice",
    ),
    (
        lambda data: _stage(data, 1).update(action_budget_per_day=0),
        "stages[1].limited.action_budget_per_day: is 0",
    ),
    (
        lambda data: _stage(data, 2).update(steps=[5, 50, 25]),
        "stages[2].gradual.steps[2]: 25 does not rise above 50",
    ),
    (
        lambda data: _stage(data, 2).update(steps=[5, 50, 250]),
        "stages[2].gradual.steps[2]: is 250. It is percent",
    ),
    (
        lambda data: _stage(data, 2)["approval"].update(at=[5, 10]),
        "stages[2].gradual.approval.at[1]: 10 is no step. The steps are 5, 25, 50.",
    ),
    (lambda data: _stage(data, 3).update(reverse_shadow=100), "stages[3].full.reverse_shadow: is"),
    (lambda data: data.update(gates=[]), "gates: is empty: nothing would have to be shown"),
    (lambda data: data["gates"][0].update(min_n=0), "gates[0].min_n: is 0: it could decide on no"),
    (lambda data: data["gates"][1].update(id="drift"), "gates[1].id: 'drift' occurs 2 times"),
    (lambda data: data["gates"][0].update(alpha=0), "gates[0].alpha: is 0"),
    (
        lambda data: data["gates"][0].update(min_lower_bound=1),
        "gates[0].min_lower_bound: is 1, which no number of cases can show",
    ),
    (lambda data: data["gates"][1].update(bounds=[1.1, 2]), "gates[1].bounds: are 1.1 and 2"),
    (
        lambda data: data["gates"][6].update(stages=["shadow", "gradual"]),
        "gates[6].stages: shadow have no arms to compare",
    ),
    (
        lambda data: data["gates"][0].update(stages=["completed"]),
        "gates[0].stages: nothing is measured in completed",
    ),
    (
        lambda data: (
            [gate.update(stages=["shadow"]) for gate in data["gates"][:4]]
            and data["gates"].__setitem__(slice(4, None), [])
        ),
        "gates: none has to pass in gradual: time alone would carry the model on",
    ),
    (
        lambda data: data["gates"].append(
            {"id": "q", "metric": "promql", "query": "up", "min_n": 1, "on_fail": "hold"}
        ),
        "gates[8]: has neither min nor max: it could not fail",
    ),
]


@pytest.mark.parametrize(("change", "beginning"), ERRORS, ids=[said for _, said in ERRORS])
def test_what_cannot_work_is_an_error(change: Change, beginning: str) -> None:
    plan = _changed(change)
    assert not can_start(lint(plan, KNOWN))
    assert any(said.startswith(beginning) for said in _said(plan, Gravity.ERROR)), lint(plan, KNOWN)


WARNINGS: list[tuple[Change, str]] = [
    (lambda data: data.update(hold_out=0), "hold_out: is 0: once the model acts everywhere"),
    (lambda data: data["objective"].pop("costs"), "objective.costs: no mistake has a price"),
    (
        lambda data: _stage(data, 1)["approval"].update(n=3),
        "stages[1].limited.approval.n: asks for 3 people, and 2 could approve",
    ),
    (
        lambda data: [_stage(data, index).pop("approval", None) for index in range(4)],
        "stages: nobody is asked before the model acts",
    ),
    (
        lambda data: _stage(data, 2).pop("approval"),
        "stages: nobody is asked before the model acts on 95 % of units, the most it ever does: "
        "gates alone move it there from 50 %. Ask in the stage before it",
    ),
    (
        lambda data: _stage(data, 2).update(steps=[5, 25, 100], approval={"n": 1, "at": [5]}),
        "stages: nobody is asked before the model acts on 100 % of units, the most it ever does: "
        "gates alone move it there from 25 %. Add 100 to gradual's `approval.at`",
    ),
    (
        lambda data: _stage(data, 1).pop("supervisor_heartbeat"),
        "stages[1].limited.supervisor_heartbeat: is missing",
    ),
    (lambda data: data.pop("risks"), "risks: nobody has said what may go wrong"),
    (
        lambda data: data["risks"][0].update(signal="domain_drft"),
        "risks[0].signal: 'domain_drft', which does not exist, would show 'night images",
    ),
    (lambda data: data["risks"][0].pop("signal"), "risks[0].signal: nothing would show 'night"),
    (
        lambda data: data["gates"][0].update(alpha=0.2),
        "gates[0].alpha: is 0.2: one healthy model in 5 would fail",
    ),
    (
        lambda data: [gate.update(on_fail="hold") for gate in data["gates"]],
        "gates: none would take the model back in limited",
    ),
    (lambda data: data["stages"].pop(1), "stages: limited is left out"),
    (
        lambda data: [
            _stage(data, 0).update(max_duration="1d", min_duration="1d"),
            data["gates"][1].update(stages=["gradual", "full"]),
        ],
        "gates[0] in stages[0].shadow: agreement passes in time in most rollouts of a healthy "
        "model, but one in ten takes 1.3 days, and the step 1 day",
    ),
]


@pytest.mark.parametrize(("change", "beginning"), WARNINGS, ids=[said for _, said in WARNINGS])
def test_what_somebody_should_know_is_a_warning(change: Change, beginning: str) -> None:
    plan = _changed(change)
    assert can_start(lint(plan, KNOWN)), lint(plan, KNOWN)
    said = _said(plan, Gravity.WARNING)
    assert any(each.startswith(beginning) for each in said), said


def test_a_step_too_small_to_show_a_doubling_in_time_says_how_long_it_takes() -> None:
    plan = _changed(lambda data: _stage(data, 2).update(steps=[1, 50], approval={"n": 1}))
    (first, *_) = _said(plan, Gravity.ERROR)
    assert first.startswith("gates[1] in stages[2].gradual at 1 %: action_rate needs 2")
    assert "and the step ends after 10 days: 4," in first
    assert "actions at 200 a day, if both act alike. Expose a share nearer to half" in first


def test_one_action_in_200_episodes_at_1_percent_takes_hundreds_of_thousands_of_episodes() -> None:
    """At 40 to 65 actions of the model, as the one percent table has it."""
    plan = _changed(
        lambda data: [
            _stage(data, 2).update(steps=[1], approval={"n": 1}),
            data["traffic"].update(action_share=0.005),
            data.update(hold_out=0),
        ]
    )
    (decision,) = (
        each for each in decisions(plan) if (each.gate, each.share) == ("action_rate", 1.0)
    )
    episodes = decision.needed / 0.005
    assert 39 <= decision.needed * 0.01 <= 65
    assert 700_000 <= episodes <= 1_000_000
    assert not decision.in_time


def test_a_reference_that_leaves_much_open_makes_flags_slow_or_useless() -> None:
    loose = Surroundings(flag_rate=0.05, least_flag_rate=0.02)
    (step,) = (
        each
        for each in decisions(PLAN, loose)
        if (each.gate, each.share) == ("unlike_training", 5.0)
    )
    sure = next(
        each for each in decisions(PLAN) if (each.gate, each.share) == ("unlike_training", 5.0)
    )
    assert step.days > 3 * sure.days
    none = Surroundings(flag_rate=0.05, least_flag_rate=0.0)
    said = _said(PLAN, Gravity.ERROR, none)
    assert "unlike_training can never decide (no number of episodes shows it, if 5% are" in said[0]
    assert "import the model with more calibration rows" in said[0]


def test_a_doubling_shows_sooner_than_that_nothing_changed() -> None:
    """At 5 % after some 290 actions, 105 in 100 of today's: the table of simulations has it."""
    (step,) = (each for each in decisions(PLAN) if (each.gate, each.share) == ("action_rate", 5.0))
    assert step.doubling_days is not None
    assert step.doubling_days == pytest.approx(290 / (200 * 1.05), rel=0.15)
    assert step.doubling_days < step.days
    shadow = next(each for each in decisions(PLAN) if each.gate == "action_rate")
    assert shadow.doubling_days is None


def test_a_last_step_of_all_units_leaves_nobody_to_compare_with() -> None:
    plan = _changed(
        lambda data: (
            [_stage(data, 2).update(steps=[50, 100]), data.update(hold_out=0)]
            and _stage(data, 2)["approval"].pop("at")
        )
    )
    (said,) = _said(plan, Gravity.ERROR)
    assert (
        "at 100 %: action_rate can never decide (there are no actions of people to judge by)"
        in said
    )


def test_agreement_where_humans_decide_little_takes_long() -> None:
    plan = _changed(
        lambda data: [
            data["gates"][0].update(stages=["shadow", "full"]),
            data["traffic"].update(decisions_per_day=100),
        ]
    )
    (said,) = (each for each in _said(plan, Gravity.ERROR) if "agreement" in each)
    assert said.startswith("gates[0] in stages[3].full: agreement needs ")
    assert "Give the step longer, ask for less, or leave this stage out" in said


def test_a_gate_that_nobody_waits_for_may_take_long() -> None:
    plan = _changed(
        lambda data: [
            data["gates"][0].update(stages=["full"], required=False),
            data["traffic"].update(decisions_per_day=100),
        ]
    )
    said = _said(plan, Gravity.WARNING)
    assert any(each.startswith("gates[0] in stages[3].full: agreement needs ") for each in said)


def test_a_check_of_arms_wants_no_more_units_than_there_are() -> None:
    plan = _changed(lambda data: data["gates"][6].update(min_n=201))
    said = _said(plan, Gravity.ERROR)
    assert "arms can never decide (it asks for more units than the 200 there are)" in said[0]


def test_units_that_show_up_all_day_are_soon_seen() -> None:
    plan = _changed(
        lambda data: [
            data["gates"][6].update(min_n=100),
            data["traffic"].update(units=200, episodes_per_day=4000),
        ]
    )
    arms = [each for each in decisions(plan) if each.gate == "arms"]
    # Half of 200 are seen after 200 · ln 2 = 139 of 4,000 episodes: 50 minutes.
    assert {round(each.days * 24 * 60) for each in arms} == {50}


def test_a_drift_gate_on_an_uncertified_reference_proves_nothing() -> None:
    known = Surroundings(certified=False)
    (said,) = _said(PLAN, Gravity.ERROR, known)
    assert said.startswith("gates[3]: the model's reference is uncertified")


def test_a_model_has_one_rollout_at_a_time() -> None:
    other = ActiveRollout(name="bears-v6", model="bears")
    (said,) = _said(PLAN, Gravity.ERROR, Surroundings(active=(other,)))
    assert said.startswith("model: the rollout bears-v6 of bears has not ended.")


def test_two_models_on_the_same_cameras_cannot_be_told_apart() -> None:
    other = ActiveRollout(name="wolves-v1", model="wolves", units=frozenset({"cam-03"}))
    apart = ActiveRollout(name="birds-v1", model="birds", units=frozenset({"cam-99"}))
    (said,) = _said(PLAN, Gravity.WARNING, Surroundings(active=(other, apart)))
    assert said.startswith("stages: the rollout wolves-v1 of wolves acts on cam-03 as well.")


def test_what_is_not_known_is_not_judged() -> None:
    plan = _changed(lambda data: data["levers"][0].update(prediction="anything"))
    assert lint(plan) == ()


def test_risks_that_nothing_shows_are_listed() -> None:
    plan = _changed(lambda data: data["risks"].append({"risk": "ranger ignores alerts"}))
    assert [risk.name for risk in unmonitored(plan)] == ["ranger ignores alerts"]
    assert unmonitored(PLAN) == ()


def test_errors_come_first() -> None:
    plan = _changed(lambda data: data.update(hold_out=0, unit="request_id"))
    assert [each.gravity for each in lint(plan, KNOWN)] == [Gravity.ERROR, Gravity.WARNING]


def test_every_gate_is_timed_in_every_step_it_is_measured_in() -> None:
    timed = {(each.gate, each.stage, each.step) for each in decisions(PLAN)}
    assert ("agreement", Stage.SHADOW, 0) in timed
    assert {step for gate, _, step in timed if gate == "arms"} == {0, 1, 2}
    assert len(timed) == 5 + 3 + 3 * 7 + 6


@settings(max_examples=15, deadline=None, phases=[Phase.generate])
@given(any_plan())
def test_any_plan_is_judged_without_a_crash(plan: RolloutPlan) -> None:
    assert all(each.place and each.cause and each.way_out for each in lint(plan, KNOWN))


def test_a_plan_without_stages_is_refused() -> None:
    said = _said(msgspec.structs.replace(PLAN, stages=()), Gravity.ERROR)
    assert any(each.startswith("stages: shadow is missing") for each in said)
