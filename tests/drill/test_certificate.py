"""What a certificate is worth: valid, void, refused, and the weak spots it names."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from monitor.certificate import (
    WITHIN,
    Delay,
    Depth,
    Injected,
    NullReplay,
    Stamp,
    State,
    judge,
    refusal,
)
from monitor.stats.accuracy.paired import Effect, paired_effect
from monitor.stats.streams.replay import alarm_rate

SETTINGS = {"the weights": "semantic 0.5", "the false-alarm budget": "90 days"}
STAMP = Stamp(
    id="c1",
    bundle_sha="b" * 64,
    configuration="d1",
    settings=SETTINGS,
    depth=Depth.QUICK,
    created_at=datetime(2026, 5, 4, tzinfo=UTC),
    refused=None,
    resolve_after=140,
    weak_spots=("blur 3",),
)
NULL = NullReplay(
    replays=20,
    calibrating=200,
    alarming=0,
    alarms=alarm_rate(0, 2_000, 300),
    p_value=1.0,
    promise="",
    flagged=1,
    looked_at=60,
    flagged_low=0.0,
    flagged_high=0.09,
    flag_band=(0.01, 0.09),
    flag_p_value=0.8,
)


def delay(median: int | None, *, projected: int | None = None) -> Delay:
    return Delay(
        share=1.0,
        repeats=10,
        seen=0 if median is None else 10,
        median=median,
        ninetieth=median,
        unseen_after=60 if median is None else None,
        projected=projected,
        streams={},
    )


def injected(loss: float, seen: Delay) -> Injected:
    before = np.ones(60, dtype=np.bool_)
    return Injected(
        shift="blur",
        severity=3,
        rows=60,
        flagged=0,
        flagged_low=0.0,
        flagged_high=0.1,
        accuracy=paired_effect(before, np.arange(60) >= 60 * loss),
        delays=(seen,),
    )


def test_a_certificate_is_valid_for_the_bundle_and_the_detectors_it_was_made_for() -> None:
    found = judge([STAMP], STAMP.bundle_sha, "d1", SETTINGS)
    assert (found.state, found.certificate_id, found.resolve_after) == (State.VALID, "c1", 140)
    assert found.weak_spots == ("blur 3",)


def test_another_bundle_voids_it() -> None:
    found = judge([STAMP], "c" * 64, "d1", SETTINGS)
    assert found.state is State.VOID
    assert "another bundle" in found.reason


def test_a_changed_option_voids_it_and_is_named() -> None:
    found = judge([STAMP], STAMP.bundle_sha, "d2", SETTINGS | {"the weights": "semantic 0.4"})
    assert found.state is State.VOID
    assert found.reason.startswith("void: the weights changed")


def test_without_a_drill_there_is_none() -> None:
    assert judge([], STAMP.bundle_sha, "d1", SETTINGS).state is State.NONE


def test_the_newest_drill_counts_also_when_it_refuses() -> None:
    refused = replace(STAMP, id="c2", refused="no power")
    found = judge([refused, STAMP], STAMP.bundle_sha, "d1", SETTINGS)
    assert (found.state, found.reason) == (State.REFUSED, "no power")
    again = judge([STAMP, refused], STAMP.bundle_sha, "d1", SETTINGS)
    assert again.state is State.VALID


def test_a_shift_that_costs_accuracy_and_is_not_seen_is_a_weak_spot() -> None:
    assert injected(0.3, delay(None)).weak
    assert injected(0.3, delay(None, projected=WITHIN + 1)).weak


@pytest.mark.parametrize(
    ("loss", "seen"),
    [(0.3, delay(12)), (0.3, delay(None, projected=400)), (0.0, delay(None)), (0.03, delay(None))],
)
def test_one_that_is_seen_or_does_not_surely_cost_anything_is_none(
    loss: float, seen: Delay
) -> None:
    assert not injected(loss, seen).weak


def test_a_shift_after_which_no_class_is_right_costs_no_accuracy_that_is_known() -> None:
    assert not replace(injected(0.5, delay(None)), accuracy=None).weak


SEEN = delay(5)


def refused(*, certified: bool = True, null: NullReplay = NULL, seen: Delay = SEEN) -> str | None:
    cells = [injected(0.2, seen)]
    return refusal(certified=certified, certified_reason="12 rows", null=null, injected=cells)


def test_a_drill_refuses_nothing_when_all_is_well() -> None:
    assert refused() is None


def test_an_uncertified_reference_is_refused() -> None:
    assert refused(certified=False) == "the reference is not certified: 12 rows"


def test_a_null_replay_against_the_promise_is_refused() -> None:
    reason = refused(null=replace(NULL, alarming=9, p_value=1e-6))
    assert reason is not None
    assert "9 of 20 replays" in reason


def test_flags_the_calibration_cannot_explain_are_refused() -> None:
    reason = refused(null=replace(NULL, flagged=40, flag_p_value=1e-9))
    assert reason is not None
    assert "40 of 60 held-out rows" in reason


def test_detectors_that_see_nothing_are_refused() -> None:
    reason = refused(seen=delay(None))
    assert reason is not None
    assert "silence of these detectors means nothing" in reason


def test_the_effect_is_that_of_the_same_items() -> None:
    effect = injected(0.5, delay(5)).accuracy
    assert isinstance(effect, Effect)
    assert (effect.before, effect.after, effect.difference) == (1.0, 0.5, -0.5)
