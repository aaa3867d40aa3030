"""A kill holds what it covers, and its release lets nothing run on by itself."""

from datetime import UTC, datetime

import pytest

from monitor.domain import Role
from monitor.errors import OptionInvalid, PersonNeeded, RolloutRefused, SecondPersonNeeded
from monitor.rollouts.signer import Signer
from monitor.rollouts.state import HoldReason
from monitor.rollouts.verdict import Outcome
from monitor.services import kill_switch
from monitor.services.register import register
from monitor.services.rollouts import tell
from monitor.services.status import look
from tests.monitor.installation import write_bundle
from tests.monitor.rollouts.field import BEN, EVE, NAME, Field

LOCAL = Signer(name="command line", role=Role.ADMIN, personal=False)


def arm(field: Field, model: str | None = None, by: str = "ben") -> None:
    kill_switch.arm(field.context.engine, model, by, "smoke", datetime.now(UTC))


def release(field: Field, by: Signer, model: str | None = None) -> bool:
    return kill_switch.release(field.context, model, by, "over", datetime.now(UTC))


@pytest.mark.parametrize("model", [None, "bears"])
@pytest.mark.parametrize("monitor_looked", [True, False])
def test_a_released_rollout_is_on_hold_and_never_running(
    field: Field, model: str | None, monitor_looked: bool
) -> None:
    field.start()
    field.climb(2)
    arm(field, model)
    if monitor_looked:
        assert field.look() == ["held"]
    assert release(field, EVE, model)
    assert field.rollout.state.hold_reasons == {HoldReason.KILLED}
    assert field.look() == []
    field.say(Outcome.PASS)
    assert field.look() == []
    tell.resume(field.context, NAME, BEN, HoldReason.KILLED, "over", measure=field.measure)
    assert field.look() == ["advanced"]


@pytest.mark.parametrize("monitor_looked", [True, False])
def test_a_kill_at_one_site_holds_the_rollout_until_a_person_resumes_it(
    field: Field, monitor_looked: bool
) -> None:
    field.start()
    field.climb(2)
    now = datetime.now(UTC)
    kill_switch.arm(field.context.engine, None, "ben", "smoke", now, site="cam-03")
    if monitor_looked:
        assert field.look() == ["held"]
        [line] = look(field.context).rollouts
        assert [held.reason for held in line.held] == [HoldReason.KILLED]
        with pytest.raises(RolloutRefused, match="its kill latch is still armed"):
            tell.resume(field.context, NAME, BEN, HoldReason.KILLED, "x", measure=field.measure)
    assert kill_switch.release(field.context, None, EVE, "over", now, site="cam-03")
    assert field.rollout.state.hold_reasons == {HoldReason.KILLED}
    field.say(Outcome.PASS)
    assert field.look() == []
    tell.resume(field.context, NAME, BEN, HoldReason.KILLED, "over", measure=field.measure)
    assert field.look() == ["advanced"]


def test_a_latch_is_over_a_model_or_over_a_site(field: Field) -> None:
    with pytest.raises(OptionInvalid, match="not both"):
        kill_switch.arm(
            field.context.engine, "bears", "ben", "smoke", datetime.now(UTC), site="cam-03"
        )


def test_a_kill_of_another_model_holds_nothing_here(field: Field) -> None:
    field.installation.serve(model="wolves")
    field.start()
    arm(field, "wolves")
    assert field.look() == []
    assert release(field, EVE, "wolves")
    assert field.rollout.state.word == "running"


def test_whoever_armed_it_does_not_release_it(field: Field) -> None:
    arm(field)
    for who, error in ((BEN, SecondPersonNeeded), (LOCAL, PersonNeeded)):
        with pytest.raises(error):
            release(field, who)
    assert release(field, EVE)
    assert not release(field, EVE)


def test_rollback_and_abort_work_while_killed(field: Field) -> None:
    field.start()
    field.climb(2)
    arm(field)
    field.look()
    tell.roll_back(field.context, NAME, LOCAL, "fog")
    tell.abort(field.context, NAME, LOCAL, "enough")
    assert field.types[-2:] == ["rolled_back", "shadow_stopped"]


def test_no_version_is_served_over_the_head_of_a_rollout(field: Field) -> None:
    field.start()
    bundle = write_bundle(field.installation.settings.store.bundles / "bears", version="2")
    now = datetime.now(UTC)
    with pytest.raises(RolloutRefused, match="without --serve and start a rollout of it"):
        register(field.context.engine, bundle, serve=True, actor="ann", now=now)
    assert not register(field.context.engine, bundle, serve=False, actor="ann", now=now).served
