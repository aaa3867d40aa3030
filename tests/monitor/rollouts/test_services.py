"""Rollouts on a real store: started, moved, ended, retried; routes, audit and notices with them."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import msgspec
import pytest

from monitor.domain import Role, Stage
from monitor.errors import (
    Conflict,
    EventsUnreachable,
    NotFound,
    PersonNeeded,
    PlanChanged,
    PlanInvalid,
    RolloutActive,
    RolloutRefused,
)
from monitor.rollouts.rollout import Rollout
from monitor.rollouts.signer import Signer
from monitor.rollouts.snapshot import BUCKETS
from monitor.rollouts.state import End, HoldReason
from monitor.rollouts.verdict import Outcome, Verdict
from monitor.services.context import Context
from monitor.services.register import register
from monitor.services.rollouts import tell
from monitor.services.rollouts.advance import advance, advance_all
from monitor.services.rollouts.start import retry, start
from monitor.store.audit import Audit
from monitor.store.bundles import Bundles
from monitor.store.decisions import Decisions, NewDecision
from monitor.store.engine import reading
from monitor.store.kill_latches import KillLatches
from monitor.store.outbox import Outbox
from monitor.store.rollouts import Rollouts
from tests.monitor.installation import write_bundle
from tests.monitor.rollouts.field import ANN, BEN, EVE, NAME, PLAN, Field

REPLACE = msgspec.structs.replace
LOCAL = Signer(name="command line", role=Role.ADMIN, personal=False)


def test_a_rollout_goes_all_the_way_and_the_route_with_it(either: Field) -> None:
    started = either.start()
    assert (either.route.stage, either.route.sealed) == (Stage.SHADOW, True)
    assert either.route.epoch == started.state.epochs[-1] == 2
    stages = [
        (either.climb(place).position.stage, either.route.stage, either.route.exposed_buckets)
        for place in range(1, 5)
    ]
    assert stages == [
        (Stage.LIMITED, Stage.LIMITED, 0),
        (Stage.GRADUAL, Stage.GRADUAL, 5_000),
        (Stage.GRADUAL, Stage.GRADUAL, BUCKETS),
        (Stage.FULL, Stage.FULL, 95_000),
    ]
    assert either.look() == ["completed"]
    route = either.route
    assert (route.stage, route.exposed_buckets) == (Stage.COMPLETED, BUCKETS)
    assert route.hold_out == PLAN.hold_out
    assert either.rollout.ended_at is not None
    assert either.look() == []
    with reading(either.installation.engine) as conn:
        deeds = [entry.action for entry in Audit(conn).all(target=f"rollout/{NAME}")]
        published = Audit(conn).all(target="model/bears")
    assert deeds[::-1] == [f"rollout.{kind}" for kind in either.types]
    assert [entry.detail["epoch"] for entry in published] == [7, 6, 5, 4, 3, 2]


def test_nothing_is_written_when_nothing_changed(field: Field) -> None:
    field.start()
    field.say(Outcome.INCONCLUSIVE)
    before = field.rollout
    for _ in range(3):
        assert field.look() == []
    assert field.rollout == before


def test_without_a_measurer_every_gate_is_inconclusive(field: Field) -> None:
    field.start()
    field.beat()
    found = advance_all(field.context, measure=lambda *_: ())
    assert (found.rollouts, found.happened) == (1, ())


def test_what_cannot_be_measured_is_an_error_and_never_a_pass(field: Field) -> None:
    def broken(context: Context, rollout: Rollout, now: object) -> tuple[Verdict, ...]:
        raise EventsUnreachable("s3://x", "no route")

    field.start()
    field.beat()
    found = advance_all(field.context, measure=broken)
    assert found.happened == (f"{NAME}: errors_counted",)
    assert {streak.gate for streak in field.rollout.state.streaks} == {
        "agreement",
        "latency",
        "recording",
    }


def test_people_are_told_of_ends_and_holds_and_asked(field: Field) -> None:
    field.start()
    field.say(Outcome.PASS)
    field.look()
    tell.hold(field.context, NAME, BEN, "fog")
    field.say(Outcome.FAIL, "agreement")
    field.look()
    with field.installation.engine.begin() as conn:
        told = Outbox(conn).claim_pending("t", timedelta(seconds=1), field.clock(conn))
    bodies = [message.payload for message in told]
    assert len(bodies) == 3
    asked, held, back = bodies
    assert "waits for approval" in asked
    assert f"rollout approve {NAME} --evidence" in asked
    assert "is on hold" in held
    assert "was rolled back" in back
    assert "gate agreement: it is fail" in back


@pytest.mark.parametrize("monitors", [2])
def test_monitors_at_once_make_each_transition_once(either: Field, monitors: int) -> None:
    either.start()
    either.say(Outcome.PASS)
    contexts = [either.monitor(f"m{number}") for number in range(monitors)]
    together = threading.Barrier(monitors)

    def look(context: Context) -> tuple[str, ...]:
        def measured(c: Context, r: Rollout, now: object) -> tuple[Verdict, ...]:
            together.wait(5)  # both have read the same version
            return either.measure(c, r, c.clock())

        return advance_all(context, measure=measured, clock=either.clock).happened

    for place in range(5):
        either.beat()
        with ThreadPoolExecutor(monitors) as pool:
            happened = [each for some in pool.map(look, contexts) for each in some]
        if place == 0:
            assert happened == [f"{NAME}: approval_requested"]
            awaiting = either.rollout.state.awaiting
            assert awaiting is not None
            tell.approve(either.context, NAME, BEN, awaiting.evidence_hash, "fine")
        else:
            assert happened == [f"{NAME}: advanced"]
    assert either.rollout.state.position == 4
    assert [link.sequence for link in either.links] == list(range(1, len(either.links) + 1))


def test_a_look_at_what_has_moved_since_does_nothing(field: Field) -> None:
    stale = field.start()
    field.say(Outcome.PASS)
    field.beat()
    tell.hold(field.context, NAME, BEN, "fog")
    assert advance(field.context, stale, measure=field.measure) == []


def test_a_person_goes_before_a_monitor_that_was_quicker(field: Field) -> None:
    """The order is given again to what is there after the monitor's event."""
    field.start()
    tries: list[int] = []

    def order(rollout: Rollout, *_: object) -> None:
        tries.append(rollout.state_version)
        if len(tries) < 3:
            raise Conflict("somebody was quicker")

    told = tell._tell(field.context, NAME, "held", BEN, order)
    assert (len(tries), told.happened) == (3, ())


def test_an_order_with_a_key_is_carried_out_once(field: Field) -> None:
    field.start()
    first = tell.hold(field.context, NAME, BEN, "fog", key="k1")
    assert first.happened == ("held",)
    tell.resume(field.context, NAME, BEN, None, "over", measure=field.measure)
    assert tell.hold(field.context, NAME, BEN, "fog", key="k1").happened == ()
    assert field.rollout.state.word == "running"


def test_deadlines_are_judged_by_the_database_clock(field: Field) -> None:
    field.start()
    field.say(Outcome.INCONCLUSIVE)
    field.later = timedelta(seconds=3_599)
    assert field.look() == []
    field.later = timedelta(seconds=3_601)
    assert field.look() == ["held"]
    assert field.rollout.state.hold_reasons == {HoldReason.INCONCLUSIVE}


def test_starting_takes_a_person(field: Field) -> None:
    with pytest.raises(PersonNeeded, match="starting a rollout takes a person"):
        field.start(by=LOCAL)


def test_a_second_start_is_refused_in_words_for_each_case(field: Field) -> None:
    field.start()
    with pytest.raises(RolloutActive, match="one at a time"):
        field.start()
    with pytest.raises(PlanChanged, match=f"retry {NAME} --plan FILE"):
        field.start(REPLACE(PLAN, hold_out=0.02))
    with pytest.raises(RolloutActive, match=rf"{NAME} \(attempt 1\) of bears has not ended"):
        field.start(REPLACE(PLAN, name="other"))
    tell.abort(field.context, NAME, BEN, "fog")
    with pytest.raises(RolloutRefused, match=f"it ended .aborted.*rollout retry {NAME}"):
        field.start()


def test_plans_that_cannot_work_are_refused(field: Field) -> None:
    for plan, words in (
        (REPLACE(PLAN, stages=PLAN.stages[1:]), "stages"),
        (REPLACE(PLAN, stages=()), "stages"),
        (REPLACE(PLAN, gates=()), "gates"),
    ):
        with pytest.raises(PlanInvalid, match=words):
            field.start(plan)
    with pytest.raises(NotFound, match=r"no trusted model bears 9\. Trusted versions: 1"):
        field.start(REPLACE(PLAN, version="9"))
    with pytest.raises(NotFound, match="no trusted model wolves"):
        field.start(REPLACE(PLAN, model="wolves"))


def test_a_newer_rollout_supersedes_on_request(field: Field) -> None:
    first = field.start()
    field.climb(2)
    newer = REPLACE(PLAN, name="bears-v8")
    start(field.context, newer, EVE, "better", supersede=True)
    with reading(field.installation.engine) as conn:
        old, new = Rollouts(conn).latest(NAME), Rollouts(conn).latest("bears-v8")
    assert old is not None
    assert new is not None
    assert old.id == first.id
    assert old.state.ended is not None
    assert old.state.ended.end is End.SUPERSEDED
    assert new.salt != old.salt
    assert (field.route.rollout, field.route.stage) == ("bears-v8", Stage.SHADOW)
    assert new.state.base == old.state.base


def test_an_abort_puts_the_route_back_and_a_rollback_studies_on(field: Field) -> None:
    before = field.route
    field.start()
    field.climb(2)
    tell.roll_back(field.context, NAME, LOCAL, "fog")
    back = field.route
    assert (back.stage, back.exposed_buckets, back.rollout) == (Stage.SHADOW, 0, NAME)
    tell.abort(field.context, NAME, LOCAL, "enough")
    after = field.route
    assert after.stage is before.stage is Stage.OBSERVE
    assert after.rollout is None
    assert field.types[-2:] == ["rolled_back", "shadow_stopped"]


def decide_something(field: Field) -> None:
    """Let somebody decide a case after the end."""
    with field.installation.engine.begin() as conn:
        new = NewDecision(
            model="bears",
            event_id=None,
            case_id="c",
            label="grizzly",
            decided_by="eve",
            decided_at=field.clock(conn),
            source="",
            inclusion_probability=None,
            key="k",
            content="c",
        )
        Decisions(conn).add(new, revision=1, supersedes=None, by="eve", now=field.clock(conn))


def test_a_retry_needs_an_end_and_something_new(field: Field) -> None:
    first = field.start()
    with pytest.raises(RolloutRefused, match="it has not ended"):
        retry(field.context, NAME, ANN, "again")
    field.climb(2)
    tell.roll_back(field.context, NAME, BEN, "fog")
    with pytest.raises(RolloutRefused, match="nothing is new since it ended"):
        retry(field.context, NAME, ANN, "again")
    with pytest.raises(RolloutRefused, match="Name and model stay"):
        retry(field.context, NAME, ANN, "again", plan=REPLACE(PLAN, name="x"))
    with pytest.raises(PersonNeeded):
        retry(field.context, NAME, LOCAL, "again")
    field.later = timedelta(seconds=1)
    decide_something(field)
    again = retry(field.context, NAME, ANN, "the lens is clean", clock=field.clock)
    assert (again.attempt, again.salt, again.id) == (2, first.salt, field.rollout.id)
    assert again.id != first.id
    assert (again.position.stage, field.route.stage) == (Stage.SHADOW, Stage.SHADOW)
    assert field.route.attempt == 2
    assert again.state.base == first.state.base
    assert "1 human decisions since it ended" in field.links[0].document
    # The verdict of the attempt before is not inherited.
    field.outcomes = {}
    assert field.look() == []


def test_a_retry_with_another_version_or_plan_is_new(field: Field) -> None:
    field.start()
    tell.abort(field.context, NAME, BEN, "fog")
    changed = REPLACE(PLAN, hold_out=0.02)
    again = retry(field.context, NAME, ANN, "other hold-out", plan=changed)
    assert (again.attempt, again.plan) == (2, changed)
    tell.abort(field.context, NAME, BEN, "fog")
    bundle = field.installation.serve(version="2")
    third = retry(field.context, NAME, ANN, "v2", plan=REPLACE(changed, version="2"))
    assert (third.version, third.bundle_sha) == ("2", bundle.digest)


def test_after_completion_only_another_version_is_new(field: Field) -> None:
    field.start()
    field.climb(4)
    field.look()
    decide_something(field)
    with pytest.raises(RolloutRefused, match="nothing is new"):
        retry(field.context, NAME, ANN, "again", plan=REPLACE(PLAN, hold_out=0.02))


def test_the_version_that_completed_acts_beside_the_next_and_comes_back(field: Field) -> None:
    field.start()
    field.climb(4)
    field.look()
    completed = field.route
    bundle = write_bundle(field.installation.settings.store.bundles / "bears", version="2")
    register(field.context.engine, bundle, serve=False, actor="test", now=field.context.clock())
    start(field.context, REPLACE(PLAN, name="bears-v8", version="2"), EVE, "better")
    incumbent = field.route.incumbent
    assert incumbent is not None
    assert (incumbent.version, incumbent.bundle_sha) == ("1", field.bundle.digest)
    assert (field.route.stage, field.route.bundle_sha) == (Stage.SHADOW, bundle.digest)
    tell.roll_back(field.context, "bears-v8", BEN, "worse")
    assert field.route.incumbent == incumbent
    tell.abort(field.context, "bears-v8", BEN, "enough")
    ours = ("epoch", "published_at", "published_by")
    assert all(
        getattr(field.route, name) == getattr(completed, name)
        for name in completed.__struct_fields__
        if name not in ours
    )


def test_a_rollback_works_when_the_candidate_lost_its_trust(field: Field) -> None:
    """The base is the same bundle here, so nothing may be published: the model is killed."""
    field.start()
    field.climb(2)
    with field.installation.engine.begin() as conn:
        Bundles(conn).withdraw(field.bundle.digest, "eve", field.clock(conn))
    told = tell.roll_back(field.context, NAME, BEN, "stolen")
    assert told.happened == ("rolled_back",)
    with reading(field.installation.engine) as conn:
        [latch] = KillLatches(conn).armed()
    assert (latch.key, latch.armed_by) == ("bears", "fieldwatch")


def test_a_forced_advance_happens_at_once(field: Field) -> None:
    field.start()
    field.say(Outcome.INCONCLUSIVE)
    field.beat()
    told = tell.force(field.context, NAME, BEN, "the season ends", measure=field.measure)
    assert told.happened == ("advance_forced", "advanced")
    assert field.route.stage is Stage.LIMITED


def test_an_unknown_rollout_is_named_with_those_there_are(field: Field) -> None:
    with pytest.raises(NotFound, match=r"no rollout nope\. None was started yet"):
        tell.find(field.context, "nope")
    field.start()
    with pytest.raises(NotFound, match=f"There are {NAME}"):
        tell.find(field.context, "nope")


def test_one_broken_rollout_does_not_stop_the_others(field: Field) -> None:
    field.start()
    field.say(Outcome.PASS)
    wolves = field.installation.serve(model="wolves")
    plan = REPLACE(PLAN, name="wolves-v1", model="wolves")
    start(field.context, plan, ANN, "too")
    with field.installation.engine.begin() as conn:
        Bundles(conn).withdraw(wolves.digest, "eve", field.clock(conn))
    assert field.look() == ["approval_requested", "approval_requested"]
