"""The demo's verdicts: every promise can be broken, and a broken one is said."""

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from monitor.demo.digits import degrade
from monitor.demo.story import AlarmSeen, PhaseSeen, Promise, judge
from monitor.domain import AlarmKind, Severity

EVENTS = [f"event-{n}" for n in range(1, 101)]


def phase(promise: Promise, alarms: Sequence[AlarmSeen] = ()) -> PhaseSeen:
    return PhaseSeen(
        title="a phase",
        promise=promise,
        events=EVENTS,
        flagged=4,
        alpha=0.05,
        alarms=alarms,
        wall_s=1.0,
    )


def alarm(
    kind: AlarmKind, *crossings: str, is_open: bool = True, severity: Severity = Severity.PAGE
) -> AlarmSeen:
    return AlarmSeen(kind=kind, severity=severity, crossings=crossings, is_open=is_open)


def test_silence_is_kept_when_nothing_crosses() -> None:
    verdict = judge(phase(Promise.SILENCE))
    assert verdict.came_true
    assert verdict.expected_flagged == pytest.approx(5.0)


@pytest.mark.parametrize("is_open", [True, False])
def test_silence_is_broken_by_any_alarm_of_the_phase(is_open: bool) -> None:
    seen = phase(Promise.SILENCE, [alarm(AlarmKind.CLASS_SHIFT, "event-9", is_open=is_open)])
    verdict = judge(seen)
    assert not verdict.came_true
    assert "class_shift" in verdict.why


def test_a_promised_alarm_is_timed_from_the_start_of_its_phase() -> None:
    verdict = judge(phase(Promise.NOVELTY, [alarm(AlarmKind.NOVELTY, "event-57", "event-90")]))
    assert verdict.came_true
    assert verdict.delay == 57


def test_an_alarm_of_an_earlier_phase_does_not_keep_the_promise() -> None:
    verdict = judge(phase(Promise.DOMAIN_DRIFT, [alarm(AlarmKind.DOMAIN_DRIFT, "long-ago")]))
    assert not verdict.came_true


def test_a_refreshed_alarm_keeps_the_promise_with_its_crossing_in_the_phase() -> None:
    seen = phase(Promise.DOMAIN_DRIFT, [alarm(AlarmKind.DOMAIN_DRIFT, "long-ago", "event-3")])
    assert judge(seen).delay == 3


def test_a_promised_alarm_that_pages_nobody_does_not_keep_the_promise() -> None:
    ticket = alarm(AlarmKind.NOVELTY, "event-7", severity=Severity.TICKET)
    verdict = judge(phase(Promise.NOVELTY, [ticket]))
    assert not verdict.came_true
    assert "pages nobody" in verdict.why


def test_another_kind_of_alarm_does_not_keep_the_promise() -> None:
    verdict = judge(phase(Promise.NOVELTY, [alarm(AlarmKind.DOMAIN_DRIFT, "event-3")]))
    assert not verdict.came_true


@pytest.mark.parametrize("is_open", [True, False])
def test_resolution_holds_only_when_the_novelty_alarm_is_gone(is_open: bool) -> None:
    seen = phase(Promise.RESOLUTION, [alarm(AlarmKind.NOVELTY, "long-ago", is_open=is_open)])
    assert judge(seen).came_true is not is_open


def test_the_degraded_scanner_blurs_and_washes_out_but_keeps_the_size() -> None:
    sharp = Image.fromarray(np.tile(np.array([[0, 255]], dtype=np.uint8), (32, 16)))
    worn = np.asarray(degrade(sharp, np.random.default_rng(1)), dtype=float)
    assert worn.shape == (32, 32)
    assert worn.std() < 0.8 * np.asarray(sharp, dtype=float).std()
