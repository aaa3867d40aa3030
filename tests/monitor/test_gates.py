"""What gates say of recorded traffic and decisions, and what they keep of it."""

import math
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest
from typing_extensions import override

from monitor.cli import main
from monitor.domain import Arm, Reason, Stage, Status
from monitor.errors import NotFound
from monitor.rollouts.gate import (
    ActionRateGate,
    AgreementGate,
    CostGate,
    DriftGate,
    EstimatedAccuracyGate,
    EventLossGate,
    GatewayErrorGate,
    LatencyGate,
    ModelErrorGate,
    OutOfDomainGate,
    PromQLGate,
    Reaction,
    SampleRatioGate,
)
from monitor.rollouts.verdict import Outcome
from monitor.services.gates.measure import measure, read_last_looks
from monitor.services.gates.show import GateReport, show_gates, waiting_for
from monitor.settings import MonitorOptions
from monitor.store.bundles import Bundles
from monitor.store.event import to_arrow
from tests.monitor.gate_field import BEAR, EPOCH, OTHER, GateField, config_of

HOLD, ROLLBACK = Reaction.HOLD, Reaction.ROLLBACK


def agreement(**more: object) -> AgreementGate:
    given = {"id": "agreement", "on_fail": HOLD, "min_n": 20, "min_lower_bound": 0.8}
    return AgreementGate(**{**given, **more})  # type: ignore[arg-type]


# Agreement ---------------------------------------------------------------------------------------


def test_agreement_passes_once_it_is_shown_and_fails_once_the_contrary_is(tmp_path: Path) -> None:
    field = GateField(tmp_path, agreement(), agreement(id="high", min_lower_bound=0.99))
    field.shadowed(*[(OTHER, OTHER)] * 39, (BEAR, OTHER))

    found = field.measure()
    assert (found["agreement"].outcome, found["agreement"].n) == (Outcome.PASS, 40)
    assert found["agreement"].estimate == pytest.approx(0.975)
    assert found["agreement"].lower is not None
    assert found["agreement"].lower > 0.8
    assert found["agreement"].log_evidence is not None
    assert found["agreement"].log_evidence > math.log(20)
    assert found["agreement"].epochs == (EPOCH,)
    assert found["high"].outcome is Outcome.INCONCLUSIVE
    assert "more decided cases will tell" in found["high"].reason

    field.shadowed(*[(BEAR, OTHER)] * 15, prefix="late")
    assert field.measure(600)["high"].outcome is Outcome.FAIL


def test_no_data_is_inconclusive_and_says_what_is_missing(tmp_path: Path) -> None:
    field = GateField(tmp_path, agreement())

    [verdict] = field.measure(3_600).values()
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.n == 0
    assert verdict.reason == "no decided cases in the 60 minutes of this step; 20 are needed"


def test_too_few_say_how_long_the_rest_will_take(tmp_path: Path) -> None:
    field = GateField(tmp_path, agreement())
    field.shadowed(*[(OTHER, OTHER)] * 5)

    [verdict] = field.measure(3_595).values()
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reason == (
        "5 decided cases of the 20 that are needed; at the present rate in another 3 hours"
    )


def test_a_decision_before_its_prediction_counts_when_the_prediction_comes(tmp_path: Path) -> None:
    field = GateField(tmp_path, agreement(min_n=1))
    field.decide(("c0", OTHER))
    [verdict] = field.measure().values()
    assert verdict.n == 0
    assert "1 decisions there are, are about nothing it answered in this step" in verdict.reason

    field.record([field.event(case_id="c0")])
    assert field.measure(600)["agreement"].n == 1


def test_a_correction_is_corrected_in_the_count(tmp_path: Path) -> None:
    field = GateField(tmp_path, agreement(min_n=1))
    field.shadowed((OTHER, OTHER), (OTHER, BEAR))
    assert field.measure()["agreement"].estimate == 0.5

    field.decide(("c1", OTHER))
    assert field.measure(600)["agreement"].estimate == 1.0


def test_a_case_counts_once_with_its_first_frame(tmp_path: Path) -> None:
    field = GateField(tmp_path, agreement(min_n=1))
    first = field.event(case_id="c0", prediction=BEAR)
    frames = [
        field.event(case_id="c0", prediction=OTHER, episode_id=first.event_id) for _ in range(3)
    ]
    field.record([first, *frames])
    field.decide(("c0", BEAR))

    verdict = field.measure()["agreement"]
    assert (verdict.n, verdict.estimate) == (1, 1.0)


def test_cases_of_one_episode_count_as_one(tmp_path: Path) -> None:
    field = GateField(tmp_path, agreement(min_n=1))
    first = field.event(case_id="c0", prediction=BEAR)
    field.record([first, field.event(case_id="c1", prediction=OTHER, episode_id=first.event_id)])
    field.decide(("c0", BEAR), ("c1", BEAR))

    verdict = field.measure()["agreement"]
    # By the one that was decided first: what was counted stays as it was when more are decided.
    assert (verdict.n, verdict.estimate) == (1, 1.0)


def test_other_epochs_bundles_and_arms_are_not_looked_at(tmp_path: Path) -> None:
    field = GateField(tmp_path, agreement(min_n=1), stage=Stage.GRADUAL)
    field.record(
        [
            field.event(case_id="held", arm=Arm.HOLD_OUT),
            field.event(case_id="control", arm=Arm.CONTROL),
            field.event(case_id="old", arm=Arm.HOLD_OUT, epoch=EPOCH - 1),
            field.event(case_id="other", arm=Arm.HOLD_OUT, bundle_sha="f" * 64),
            field.event(case_id="unsure", arm=Arm.TREATMENT, reason=Reason.LOW_CONFIDENCE),
        ]
    )
    field.decide(*((case, OTHER) for case in ("held", "control", "old", "other", "unsure")))

    assert field.measure()["agreement"].n == 2


def test_a_class_that_is_not_recognised_keeps_the_whole_from_passing(tmp_path: Path) -> None:
    gate = agreement(min_class_recall=0.5, min_lower_bound=0.6)
    field = GateField(tmp_path, gate)
    field.shadowed(*[(OTHER, OTHER)] * 300, *[(OTHER, BEAR)] * 29)
    # 29 of a class are too few to ask about.
    assert field.measure()["agreement"].outcome is Outcome.PASS

    field.shadowed(*[(OTHER, BEAR)] * 11, prefix="more")
    verdict = field.measure(600)["agreement"]
    assert verdict.outcome is Outcome.FAIL
    assert verdict.reason.startswith("recall of grizzly is 0 % in 40 decided cases")


def test_decisions_drawn_with_unequal_chances_are_weighted(tmp_path: Path) -> None:
    field = GateField(tmp_path, agreement(min_n=1))
    field.record(
        [
            *(field.event(case_id=f"a{i}") for i in range(10)),
            *(field.event(case_id=f"d{i}", prediction=BEAR) for i in range(10)),
        ]
    )
    field.decide(*((f"a{i}", OTHER) for i in range(10)), inclusion_probability=0.1)
    field.decide(*((f"d{i}", OTHER) for i in range(10)), inclusion_probability=1.0)

    assert field.measure()["agreement"].estimate == pytest.approx(100 / 110)


# Errors and costs --------------------------------------------------------------------------------


def test_error_waits_for_adjudication_and_says_so(tmp_path: Path) -> None:
    gate = ModelErrorGate(id="error", on_fail=HOLD, min_n=10, max_upper_bound=0.1)
    field = GateField(tmp_path, gate)
    field.shadowed(*[(OTHER, OTHER)] * 20)

    verdict = field.measure()["error"]
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "adjudicated" in verdict.reason


def test_cost_prices_mistakes_as_the_objective_does(tmp_path: Path) -> None:
    cheap = CostGate(id="cheap", on_fail=HOLD, min_n=10, max_upper_bound=1.5)
    dear = CostGate(id="dear", on_fail=HOLD, min_n=10, max_upper_bound=0.01)
    field = GateField(tmp_path, cheap, dear)
    mistakes = {3: (OTHER, BEAR), 4: (BEAR, OTHER)}
    field.shadowed(*(mistakes.get(i % 10, (OTHER, OTHER)) for i in range(80)))

    found = field.measure()
    assert found["cheap"].outcome is Outcome.PASS
    assert found["cheap"].estimate == pytest.approx(0.5)
    assert found["dear"].outcome is Outcome.FAIL
    assert "0.5 hours a case in 80 decided cases" in found["dear"].reason


def test_a_limit_that_no_mistake_reaches_is_an_error(tmp_path: Path) -> None:
    field = GateField(tmp_path, CostGate(id="c", on_fail=HOLD, min_n=1, max_upper_bound=4.0))

    verdict = field.measure()["c"]
    assert verdict.outcome is Outcome.ERROR
    assert "no mistake costs more than 4 hours" in verdict.reason


# Doubles or halves -------------------------------------------------------------------------------


def action_rate(**more: object) -> ActionRateGate:
    given = {"id": "actions", "on_fail": ROLLBACK, "min_n": 10}
    return ActionRateGate(**{**given, **more})  # type: ignore[arg-type]


def test_in_shadow_pairs_pass_soon_and_a_doubling_is_held_early(tmp_path: Path) -> None:
    field = GateField(tmp_path, action_rate())
    field.shadowed(*[(BEAR, BEAR)] * 20, *[(OTHER, OTHER)] * 50)
    verdict = field.measure()["actions"]
    assert (verdict.outcome, verdict.n, verdict.early_hold) == (Outcome.PASS, 20, False)

    field.shadowed(*[(BEAR, OTHER)] * 20, prefix="twice")
    verdict = field.measure(600)["actions"]
    assert (verdict.outcome, verdict.early_hold) == (Outcome.INCONCLUSIVE, True)
    assert verdict.estimate == 2.0
    assert "It is not 1" in verdict.reason

    field.shadowed(*[(BEAR, OTHER)] * 40, prefix="thrice")
    verdict = field.measure(600)["actions"]
    assert (verdict.outcome, verdict.early_hold) == (Outcome.FAIL, False)


def test_a_frame_below_its_lever_or_flagged_would_not_act(tmp_path: Path) -> None:
    field = GateField(tmp_path, action_rate(min_n=1))
    field.record(
        [
            field.event(case_id="c0", prediction=BEAR, confidence=0.49),
            field.event(case_id="c1", prediction=BEAR, flagged=True),
            field.event(case_id="c2", prediction=BEAR),
        ]
    )
    field.decide(*((f"c{i}", BEAR) for i in range(3)))

    assert field.measure()["actions"].estimate == pytest.approx(1 / 3)


def test_arms_are_compared_by_episodes_with_a_known_outcome(tmp_path: Path) -> None:
    field = GateField(tmp_path, action_rate(), stage=Stage.GRADUAL)
    bear = field.acting()
    field.record(
        [
            bear,
            # More frames of the same bear are no more actions.
            *(field.acting(episode_id=bear.event_id) for _ in range(5)),
            *(field.acting(action=None, prediction=OTHER) for _ in range(9)),
            *(
                field.event(case_id=f"c{i}", arm=Arm.CONTROL, reason=Reason.CONTROL)
                for i in range(30)
            ),
        ]
    )
    field.decide(("c0", BEAR), *((f"c{i}", OTHER) for i in range(1, 20)))

    verdict = field.measure()["actions"]
    assert verdict.n == 2
    assert verdict.estimate == pytest.approx((1 / 10) / (1 / 20))
    assert "1 actions in 10 episodes of the model's arm, 1 in 20 of the control arm" in (
        verdict.reason
    )


def test_in_the_limited_stage_pairs_are_compared_as_in_shadow(tmp_path: Path) -> None:
    field = GateField(tmp_path, action_rate(), stage=Stage.LIMITED)
    field.record(
        [
            *(field.acting() for _ in range(9)),
            *(
                field.event(case_id=f"c{i}", arm=Arm.CONTROL, prediction=BEAR if i < 20 else OTHER)
                for i in range(30)
            ),
        ]
    )
    field.decide(*((f"c{i}", BEAR if i < 20 else OTHER) for i in range(30)))

    verdict = field.measure()["actions"]
    assert (verdict.outcome, verdict.n) == (Outcome.PASS, 20)


def test_without_decisions_in_the_control_the_ratio_is_unknown(tmp_path: Path) -> None:
    field = GateField(tmp_path, action_rate(), stage=Stage.GRADUAL)
    field.record([field.acting() for _ in range(30)])

    verdict = field.measure()["actions"]
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "no episode of the control arm with a known outcome" in verdict.reason


def test_an_arm_that_acts_without_end_is_rolled_back(tmp_path: Path) -> None:
    field = GateField(tmp_path, action_rate(), stage=Stage.GRADUAL)
    field.record(
        [
            *(field.acting() for _ in range(60)),
            *(field.event(case_id=f"c{i}", arm=Arm.CONTROL) for i in range(60)),
        ]
    )
    field.decide(*((f"c{i}", BEAR if i < 5 else OTHER) for i in range(60)))

    verdict = field.measure()["actions"]
    assert (verdict.outcome, verdict.on_fail) == (Outcome.FAIL, ROLLBACK)


# Out of domain and drift -------------------------------------------------------------------------


def flags(**more: object) -> OutOfDomainGate:
    given = {"id": "ood", "on_fail": ROLLBACK, "min_n": 50, "max_increase": 0.1}
    return OutOfDomainGate(**{**given, **more})  # type: ignore[arg-type]


def test_flagged_episodes_are_judged_with_what_the_reference_leaves_open(tmp_path: Path) -> None:
    field = GateField(tmp_path, flags())
    field.record([field.event() for _ in range(150)])
    verdict = field.measure()["ood"]
    assert verdict.outcome is Outcome.PASS
    assert "healthy ones:" in verdict.reason

    field.record([field.event(flagged=True) for _ in range(150)])
    verdict = field.measure()["ood"]
    assert (verdict.outcome, verdict.n) == (Outcome.FAIL, 300)


def test_a_flood_fails_the_fast_lane_before_the_gate_itself_would(tmp_path: Path) -> None:
    field = GateField(tmp_path, flags(min_n=5_000, fast_window_s=60.0, fast_min_n=20))
    field.record([field.event() for _ in range(100)])
    assert field.measure(1)["ood"].outcome is Outcome.INCONCLUSIVE

    field.record([field.event(flagged=True) for _ in range(30)])
    verdict = field.measure(1)["ood"]
    assert verdict.outcome is Outcome.FAIL
    assert "a flood" in verdict.reason
    # Once it is over, the slow lane speaks again.
    assert field.measure(3_600)["ood"].outcome is Outcome.INCONCLUSIVE


def drift(**more: object) -> DriftGate:
    given = {"id": "drift", "on_fail": HOLD, "min_n": 50, "alpha": 0.001}
    return DriftGate(**{**given, **more})  # type: ignore[arg-type]


def test_drift_passes_while_nothing_is_found_and_stays_found(tmp_path: Path) -> None:
    field = GateField(tmp_path, drift())
    field.record([field.natural() for _ in range(120)])
    assert field.measure()["drift"].outcome is Outcome.PASS

    field.record([field.natural(p_semantic=0.001) for _ in range(60)])
    assert field.measure()["drift"].outcome is Outcome.FAIL
    field.record([field.natural() for _ in range(100)])
    assert field.measure()["drift"].outcome is Outcome.FAIL


def test_drift_without_a_reference_that_promises_is_unknown(tmp_path: Path) -> None:
    field = GateField(tmp_path, drift(), certified=False)
    field.record([field.event() for _ in range(120)])

    verdict = field.measure()["drift"]
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "supports no promise" in verdict.reason


# Gateways ----------------------------------------------------------------------------------------


def test_errors_count_failures_and_not_refusals(tmp_path: Path) -> None:
    gate = GatewayErrorGate(id="errors", on_fail=ROLLBACK, min_n=50, max_upper_bound=0.05)
    field = GateField(tmp_path, gate, stage=Stage.GRADUAL)
    sha = field.bundle.digest
    field.record(
        [
            *(field.acting() for _ in range(200)),
            *(field.event(status=Status.REJECTED, bundle_sha=sha, arm=None) for _ in range(200)),
        ]
    )
    verdict = field.measure()["errors"]
    assert (verdict.outcome, verdict.n, verdict.estimate) == (Outcome.PASS, 200, 0.0)

    field.record([field.event(status=Status.ERROR, bundle_sha=sha, arm=None) for _ in range(60)])
    assert field.measure()["errors"].outcome is Outcome.FAIL


def test_latency_counts_answers_over_each_gates_own_limit(tmp_path: Path) -> None:
    field = GateField(
        tmp_path,
        LatencyGate(id="slow", on_fail=HOLD, min_n=50, max_ms=100.0, quantile=0.9),
        LatencyGate(id="fast", on_fail=HOLD, min_n=50, max_ms=10.0, quantile=0.9),
    )
    field.record([field.event(latency_ms=50.0) for _ in range(200)])

    found = field.measure()
    assert (found["slow"].outcome, found["slow"].estimate) == (Outcome.PASS, 0.0)
    assert (found["fast"].outcome, found["fast"].estimate) == (Outcome.FAIL, 1.0)


def test_what_is_predicted_beside_an_answer_tells_nothing_of_its_time(tmp_path: Path) -> None:
    gate = LatencyGate(id="slow", on_fail=HOLD, min_n=1, max_ms=100.0)
    field = GateField(tmp_path, gate, stage=Stage.GRADUAL)
    field.record([field.acting(), *(field.event(latency_ms=900.0) for _ in range(9))])

    verdict = field.measure()["slow"]
    assert (verdict.n, verdict.estimate) == (1, 0.0)


def test_units_are_compared_with_the_plans_share(tmp_path: Path) -> None:
    gate = SampleRatioGate(id="srm", on_fail=HOLD, min_n=20, alpha=0.001)
    field = GateField(tmp_path, gate, stage=Stage.GRADUAL)
    assert field.rollout.position.share == 5.0
    field.record(
        [
            field.event(arm=Arm.TREATMENT if i < 2 else Arm.CONTROL, bucket=i, unit=f"u{i}")
            for i in range(40)
        ]
    )
    verdict = field.measure()["srm"]
    assert (verdict.outcome, verdict.n, verdict.estimate) == (Outcome.PASS, 40, 0.05)

    field.record([field.event(arm=Arm.TREATMENT, bucket=100 + i, unit=f"v{i}") for i in range(40)])
    assert field.measure()["srm"].outcome is Outcome.FAIL


def test_arms_are_not_asked_for_where_there_are_none(tmp_path: Path) -> None:
    field = GateField(tmp_path, SampleRatioGate(id="srm", on_fail=HOLD, min_n=20))
    field.record([field.event() for _ in range(40)])

    verdict = field.measure()["srm"]
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "there are no arms" in verdict.reason


def test_gaps_in_the_record_are_losses(tmp_path: Path) -> None:
    gate = EventLossGate(id="recording", on_fail=HOLD, min_n=50, max=0.01)
    field = GateField(tmp_path, gate)
    field.record([field.event() for _ in range(99)])
    assert field.measure()["recording"].outcome is Outcome.PASS

    field.installation.seq += 11
    field.record([field.event() for _ in range(90)])
    verdict = field.measure()["recording"]
    assert (verdict.outcome, verdict.n) == (Outcome.FAIL, 200)
    assert verdict.reason.startswith("11 of 200 answers left no record")


# Sources that do not answer ----------------------------------------------------------------------


def test_a_withdrawn_candidate_is_an_error_of_the_gates_that_need_it(tmp_path: Path) -> None:
    field = GateField(tmp_path, flags(), agreement(min_n=1))
    field.shadowed((OTHER, OTHER))
    with field.installation.engine.begin() as conn:
        Bundles(conn).withdraw(field.bundle.digest, "test", field.now)

    found = field.measure()
    assert found["ood"].outcome is Outcome.ERROR
    assert found["agreement"].n == 1


def test_an_estimate_that_is_unknown_is_inconclusive(tmp_path: Path) -> None:
    gate = EstimatedAccuracyGate(id="estimate", on_fail=HOLD, min_n=10, min_lower_bound=0.9)
    field = GateField(tmp_path, gate)
    field.record([field.event() for _ in range(20)])

    verdict = field.measure()["estimate"]
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "cannot be estimated" in verdict.reason


def test_a_limit_that_nothing_can_show_is_an_error(tmp_path: Path) -> None:
    gate = GatewayErrorGate(id="errors", on_fail=HOLD, min_n=1, max_upper_bound=0.0)
    field = GateField(tmp_path, gate)
    field.record([field.event() for _ in range(5)])

    verdict = field.measure()["errors"]
    assert verdict.outcome is Outcome.ERROR
    assert "limit between 0 and 1" in verdict.reason


def test_without_prometheus_a_query_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    field = GateField(tmp_path, PromQLGate(id="q", on_fail=HOLD, min_n=1, query="up", min=1))

    verdict = field.measure()["q"]
    assert verdict.outcome is Outcome.ERROR
    assert "set monitor.prometheus_url" in verdict.reason


# What is kept ------------------------------------------------------------------------------------


def test_events_are_counted_once_by_any_number_of_monitors(tmp_path: Path) -> None:
    gate = LatencyGate(id="slow", on_fail=HOLD, min_n=1, max_ms=100.0)
    field = GateField(tmp_path, gate)
    field.record([field.event() for _ in range(30)])
    other = field.installation.monitor(owner="m2")

    assert field.measure()["slow"].n == 30
    [again] = measure(other, field.rollout, field.now)
    assert again.n == 30
    field.record([field.event() for _ in range(5)])
    [again] = measure(other, field.rollout, field.now)
    assert (again.n, field.measure()["slow"].n) == (35, 35)


def test_a_resumed_step_adds_its_epochs_up(tmp_path: Path) -> None:
    field = GateField(tmp_path, drift(min_n=1), flags(min_n=1))
    field.record([field.event() for _ in range(30)])
    assert field.measure()["ood"].n == 30

    field.at(epochs=(EPOCH, EPOCH + 2))
    # A gateway that has not heard of it yet, and one that has.
    field.record([field.event(epoch=EPOCH + 2 * (i % 2)) for i in range(10)])
    found = field.measure()
    assert (found["ood"].n, found["drift"].n) == (40, 40)
    assert found["ood"].epochs == (EPOCH, EPOCH + 2)


def test_another_step_begins_from_nothing(tmp_path: Path) -> None:
    field = GateField(tmp_path, flags(min_n=1))
    field.record([field.event() for _ in range(30)])
    assert field.measure()["ood"].n == 30

    field.at(epochs=(EPOCH + 1,))
    assert field.measure()["ood"].n == 0


def test_history_gains_a_row_only_when_something_changed(tmp_path: Path) -> None:
    field = GateField(tmp_path, agreement(min_n=10))
    field.shadowed(*[(OTHER, OTHER)] * 8)
    field.measure()
    field.measure(600)
    assert [row.outcome for row in field.history()] == ["inconclusive"]

    field.shadowed(*[(OTHER, OTHER)] * 30, prefix="more")
    field.measure(600)
    field.measure(600)
    assert [row.outcome for row in field.history()] == ["inconclusive", "pass"]
    # What was said last is there all the same.
    look = read_last_looks(field.context, field.rollout)["agreement"]
    assert (look.verdict.measured_at, look.verdict.n) == (field.now, 38)


def test_a_dear_look_is_not_made_again_at_once(tmp_path: Path) -> None:
    field = GateField(tmp_path, agreement(min_n=1))
    field.shadowed((OTHER, OTHER))
    first = field.measure()["agreement"]
    field.shadowed((OTHER, OTHER), prefix="more")

    [soon] = measure(field.context, field.rollout, first.measured_at + timedelta(microseconds=1))
    assert soon == first
    assert field.measure(600)["agreement"].n == 2


def test_gates_that_take_power_share_their_alpha_for_failing(tmp_path: Path) -> None:
    field = GateField(
        tmp_path,
        flags(),
        action_rate(),
        agreement(),
        agreement(id="tried", on_fail=ROLLBACK, dry_run=True),
    )

    found = field.measure()
    assert found["ood"].alpha_failing == found["actions"].alpha_failing == 0.025
    assert found["agreement"].alpha_failing is None
    assert found["tried"].alpha_failing == pytest.approx(0.05 / 3)
    assert not found["tried"].decides


def test_gates_of_other_stages_are_not_measured(tmp_path: Path) -> None:
    field = GateField(tmp_path, agreement(stages=(Stage.FULL,)))

    assert field.measure() == {}


def test_late_events_count_when_they_come(tmp_path: Path) -> None:
    field = GateField(tmp_path, flags(min_n=1))
    late = [field.event() for _ in range(10)]
    field.record([field.event() for _ in range(20)])
    assert field.measure()["ood"].n == 20

    moved = [
        msgspec.structs.replace(each, writer="gateway-2", seq=i + 1) for i, each in enumerate(late)
    ]
    field.installation.log().append(to_arrow(moved), writer="gateway-2", last_seq=10)
    assert field.measure()["ood"].n == 30


# Prometheus --------------------------------------------------------------------------------------


class _Prometheus(BaseHTTPRequestHandler):
    """Answers every query with the next of some documents."""

    answers: ClassVar[list[tuple[int, object]]] = []

    def do_GET(self) -> None:
        status, document = self.answers.pop(0)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(msgspec.json.encode(document))

    @override
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def prometheus() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Prometheus)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def vector(*values: str) -> tuple[int, object]:
    samples = [{"metric": {}, "value": [1.0, value]} for value in values]
    return 200, {"status": "success", "data": {"resultType": "vector", "result": samples}}


def test_a_query_is_judged_by_its_one_number_and_by_nothing_else(
    tmp_path: Path, prometheus: str
) -> None:
    gate = PromQLGate(id="q", on_fail=HOLD, min_n=2, query="up", min=1.0)
    field = GateField(tmp_path, gate, options=MonitorOptions(prometheus_url=prometheus))
    scalar = {"status": "success", "data": {"resultType": "scalar", "result": [1.0, "1.5"]}}
    refused = {"status": "error", "errorType": "bad_data", "error": "parse error"}
    asked: list[tuple[tuple[int, object], Outcome, str]] = [
        (vector("2"), Outcome.INCONCLUSIVE, "at look 1 of the 2"),
        (vector("2"), Outcome.PASS, "the query gives 2, which is within"),
        ((200, scalar), Outcome.PASS, "the query gives 1.5"),
        (vector("0.5"), Outcome.FAIL, "beyond the limits"),
        (vector(), Outcome.INCONCLUSIVE, "finds no series"),
        (vector("NaN"), Outcome.INCONCLUSIVE, "no number to compare"),
        (vector("1", "2"), Outcome.ERROR, "finds 2 series; make it one"),
        ((400, refused), Outcome.ERROR, "refuses the query: parse error"),
        ((502, "gone"), Outcome.ERROR, "answered 502, and not as Prometheus does"),
    ]
    _Prometheus.answers = [answer for answer, _, _ in asked]

    for _, outcome, reason in asked:
        verdict = field.measure()["q"]
        assert (verdict.outcome, reason in verdict.reason) == (outcome, True), verdict.reason


def test_a_prometheus_that_is_away_is_an_error_and_keeps_no_other_gate(tmp_path: Path) -> None:
    gate = PromQLGate(id="q", on_fail=HOLD, min_n=1, query="up", min=1.0)
    options = MonitorOptions(prometheus_url="http://127.0.0.1:9")
    field = GateField(tmp_path, gate, flags(min_n=1), options=options)
    field.record([field.event()])

    found = field.measure()
    assert found["q"].outcome is Outcome.ERROR
    assert "does not answer" in found["q"].reason
    assert found["ood"].n == 1


# What people see ---------------------------------------------------------------------------------


def test_the_standing_of_every_gate_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gates = agreement(), agreement(id="later", stages=(Stage.FULL,)), flags(dry_run=True)
    field = GateField(tmp_path, *gates)
    arguments = ["rollout", "gates", "bears-v7", "--config", str(config_of(field, tmp_path))]
    found = show_gates(field.context, "bears-v7")
    assert [(each.gate, each.metric, each.verdict) for each in found.gates] == [
        ("agreement", "human_agreement", None),
        ("ood", "ood_fraction", None),
    ]
    assert found.elsewhere == ("later",)
    assert waiting_for(found) == ["agreement"]

    field.shadowed(*[(OTHER, OTHER)] * 40)
    field.measure()
    with pytest.raises(SystemExit):
        main(arguments)
    told = capsys.readouterr().out
    assert "bears-v7 (attempt 1) is running in shadow" in told
    assert "Every required gate passes" in told
    assert "nothing: dry run" in told
    with pytest.raises(SystemExit):
        main([*arguments, "--history", "--json"])
    shown = msgspec.json.decode(capsys.readouterr().out, type=GateReport)
    assert [change.verdict.gate for change in shown.history] == ["agreement", "ood"]


def test_a_rollout_nobody_started_has_no_gates(tmp_path: Path) -> None:
    field = GateField(tmp_path, agreement())

    with pytest.raises(NotFound, match="bears-v8"):
        show_gates(field.context, "bears-v8")


def test_errors_are_weighted_by_the_chance_of_adjudication(tmp_path: Path) -> None:
    gate = ModelErrorGate(id="error", on_fail=HOLD, min_n=10, max_upper_bound=0.5)
    relative = CostGate(
        id="cost", on_fail=HOLD, min_n=10, max_upper_bound=2.0, relative_to_human=True
    )
    field = GateField(tmp_path, gate, relative)
    # Every tenth of 100 agreements is adjudicated and all of 20 disagreements: the model erred in
    # half of these.
    field.shadowed(*[(OTHER, OTHER)] * 100, *[(BEAR, OTHER)] * 20)
    events = field.context.events.of_cases(
        "bears", [f"c{i}" for i in range(120)], ["event_id", "case_id"]
    )
    for row in events.to_pylist():
        number = int(row["case_id"][1:])
        if number >= 100 or number % 10 == 0:
            truth = BEAR if number >= 110 else OTHER
            field.adjudicate(row["event_id"], truth, 1.0 if number >= 100 else 0.1)

    found = field.measure()
    assert found["error"].n == 30
    assert found["error"].estimate == pytest.approx(10 / 120)
    assert found["error"].outcome is Outcome.PASS
    # The human missed ten bears at 4 hours each, the model cried bear ten times at one hour.
    assert found["cost"].estimate == pytest.approx(1 / 4)
    assert "cost 0.0833 hours a case, the human's 0.333" in found["cost"].reason
