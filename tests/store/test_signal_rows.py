"""Alerts that Alertmanager told of, and its silences, as rows of both databases."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine

from monitor.errors import LeaseLost
from monitor.services.signals.receive import take_in
from monitor.store import signals as rows
from monitor.store.signal import Alert, Signal, SignalState
from monitor.store.signals import Said, Signals
from monitor.store.silence import Matcher, Origin, Silence, SilenceState, marker
from monitor.store.silences import Silences

LABELS = {"alertname": "FieldwatchEventsLost", "severity": "ticket", "instance": "gw:8000"}
SUBJECT = "alarm/0190"
MATCHERS = (Matcher(name="alertname", value="FieldwatchNovelty"),)
LEASE = timedelta(seconds=60)


def lost(starts_at: datetime, *, over: bool = False, fingerprint: str = "f1") -> Alert:
    return Alert(
        fingerprint=fingerprint,
        labels=LABELS,
        annotations={"summary": "it loses records"},
        starts_at=starts_at,
        ends_at=starts_at + timedelta(minutes=1) if over else None,
    )


def put(engine: Engine, *alerts: Alert, alarm_id: str | None = None, room: int = 10) -> list[Said]:
    with engine.begin() as conn:
        return [
            Signals(conn).put(each, alarm_id, each.starts_at + timedelta(seconds=30), room=room)
            for each in alerts
        ]


def kept(engine: Engine) -> list[Signal]:
    with engine.connect() as conn:
        return Signals(conn).all(linked=True)


def only_signal(engine: Engine) -> Signal:
    [signal] = kept(engine)
    return signal


def test_an_alert_begins_once_goes_on_and_ends_once(engine: Engine, now: datetime) -> None:
    # The API cuts the beginning to milliseconds, and the webhook does not.
    cut = now.replace(microsecond=now.microsecond // 1_000 * 1_000)
    firing = lost(now)
    assert put(engine, firing, firing, lost(cut)) == [
        Said.BEGAN,
        Said.NOTHING_NEW,
        Said.NOTHING_NEW,
    ]
    [signal] = kept(engine)
    assert (signal.state, signal.name) == (SignalState.FIRING, "FieldwatchEventsLost")
    assert signal.labels == LABELS
    over = lost(now, over=True)
    assert put(engine, over, over, firing) == [Said.ENDED, Said.NOTHING_NEW, Said.NOTHING_NEW]
    [signal] = kept(engine)
    assert signal.state is SignalState.RESOLVED
    assert signal.resolved_at == now + timedelta(seconds=30)


def test_that_it_goes_on_is_written_down_once_a_minute_and_what_is_new_at_once(
    engine: Engine, now: datetime
) -> None:
    def say(at: datetime, alarm_id: str | None = None) -> Signal:
        with engine.begin() as conn:
            Signals(conn).put(lost(now), alarm_id, at, room=9)
        return only_signal(engine)

    assert say(now).seen_at == now
    assert say(now + timedelta(seconds=59)).seen_at == now
    minute = now + timedelta(seconds=60)
    assert say(minute).seen_at == minute
    linked = say(minute + timedelta(seconds=1), "a1")
    assert (linked.alarm_id, linked.seen_at) == ("a1", minute + timedelta(seconds=1))


def test_it_may_begin_anew_and_what_is_late_changes_nothing(engine: Engine, now: datetime) -> None:
    later = now + timedelta(minutes=5)
    assert put(engine, lost(now), lost(later)) == [Said.BEGAN, Said.BEGAN]
    assert [each.state for each in kept(engine)] == [SignalState.FIRING, SignalState.RESOLVED]
    assert put(engine, lost(now), lost(now, over=True)) == [Said.NOTHING_NEW] * 2
    assert put(engine, lost(later + timedelta(minutes=1), over=True)) == [Said.NOTHING_NEW]
    assert [each.state for each in kept(engine)] == [SignalState.FIRING, SignalState.RESOLVED]


def test_what_fires_again_as_it_began_is_news_and_what_is_only_late_is_not(
    engine: Engine, now: datetime
) -> None:
    put(engine, lost(now), lost(now, over=True))
    over = now + timedelta(seconds=30)

    def say(at: datetime, known_until: datetime | None = None) -> Said:
        with engine.begin() as conn:
            return Signals(conn).put(lost(now), None, at, room=9, known_until=known_until)

    assert say(over + rows.BELATED) is Said.NOTHING_NEW
    assert say(over, known_until=over) is Said.NOTHING_NEW
    assert say(over + timedelta(seconds=9), over + timedelta(seconds=1)) is Said.BEGAN
    [signal] = kept(engine)
    assert (signal.state, signal.resolved_at) == (SignalState.FIRING, None)
    put(engine, lost(now, over=True))
    assert say(over + rows.BELATED + timedelta(seconds=1)) is Said.BEGAN


def test_what_fires_is_bounded_and_what_is_over_makes_room(
    engine: Engine, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "MOST_FIRING", 2)
    monkeypatch.setattr(rows, "MOST_KEPT", 3)
    with engine.begin() as conn:
        signals, said = Signals(conn), []
        for number in range(4):
            each = lost(now, fingerprint=f"f{number}")
            said.append(signals.put(each, None, now, room=signals.room()))
        assert said == [Said.BEGAN, Said.BEGAN, Said.NO_ROOM, Said.NO_ROOM]
        for minute in range(1, 6):
            signals.put(lost(now + timedelta(minutes=minute)), None, now, room=signals.room())
        assert signals.bound() == 4
        left = signals.all()
    assert sorted(each.state for each in left) == ["firing", "firing", "resolved"]
    with engine.begin() as conn:
        assert Signals(conn).forget(now + timedelta(days=1)) == 1


def test_monitors_that_are_told_at_once_keep_one_row_of_each_alert(
    engine: Engine, now: datetime
) -> None:
    alerts = [lost(now, fingerprint=f"{number:02}") for number in range(20)]

    def told(_: int) -> int:
        with engine.begin() as conn:
            return take_in(conn, alerts, now).changed

    with ThreadPoolExecutor(4) as monitors:
        assert sum(monitors.map(told, range(4))) == 20
    assert len(kept(engine)) == 20


def test_an_alert_about_an_alarm_is_linked_and_listed_only_when_asked_for(
    engine: Engine, now: datetime
) -> None:
    put(engine, lost(now), alarm_id="a1")
    with engine.connect() as conn:
        signals = Signals(conn)
        assert signals.all() == []
        assert signals.count_firing() == {}
        [linked] = signals.of_alarm("a1")
        assert signals.firing() == [linked]


def ask(engine: Engine, now: datetime) -> None:
    with engine.begin() as conn:
        Silences(conn).ask(SUBJECT, MATCHERS, "ann", "seen", now + timedelta(hours=1), now)


def claim(engine: Engine, at: datetime, owner: str = "m1") -> list[Silence]:
    with engine.begin() as conn:
        return Silences(conn).claim_due(owner, LEASE, at)


def only(silences: Iterable[Silence]) -> Silence:
    [found] = silences
    return found


def standing(engine: Engine) -> Silence:
    with engine.connect() as conn:
        return only(Silences(conn).all())


def test_one_monitor_makes_a_silence_and_a_second_acknowledgement_asks_for_none(
    engine: Engine, now: datetime
) -> None:
    ask(engine, now)
    ask(engine, now)
    mine = only(claim(engine, now))
    assert claim(engine, now, "m2") == []
    assert mine.marker == marker(mine.id)
    with engine.begin() as conn:
        Silences(conn).made(mine, "s1", now)
    made = standing(engine)
    assert (made.state, made.silence_id) == (SilenceState.ACTIVE, "s1")
    assert (made.matchers, made.created_by, made.origin) == (MATCHERS, "ann", Origin.HERE)
    ask(engine, now)
    assert standing(engine) == made


def test_rival_monitors_take_each_silence_once(engine: Engine, now: datetime) -> None:
    with engine.begin() as conn:
        for number in range(30):
            until = now + timedelta(hours=1)
            Silences(conn).ask(f"signal/{number}", MATCHERS, "ann", "seen", until, now)

    def take(owner: str) -> list[str]:
        taken = []
        while some := claim(engine, now, owner):
            taken += [each.id for each in some]
        return taken

    with ThreadPoolExecutor(4) as monitors:
        every = [taken for each in monitors.map(take, "abcd") for taken in each]
    assert len(every) == len(set(every)) == 30


def test_a_monitor_that_lost_its_lease_records_nothing(engine: Engine, now: datetime) -> None:
    ask(engine, now)
    first = only(claim(engine, now))
    second = only(claim(engine, now + LEASE, "m2"))
    with engine.begin() as conn, pytest.raises(LeaseLost):
        Silences(conn).made(first, "s1", now)
    with engine.begin() as conn:
        Silences(conn).made(second, "s2", now)
    assert standing(engine).silence_id == "s2"


def test_a_silence_no_longer_asked_for_while_it_is_made_is_due_to_end(
    engine: Engine, now: datetime
) -> None:
    ask(engine, now)
    mine = only(claim(engine, now))
    with engine.begin() as conn:
        Silences(conn).release(SUBJECT, now)
        Silences(conn).made(mine, "s1", now)
    ending = only(claim(engine, now))
    assert (ending.state, ending.silence_id) == (SilenceState.ENDING, "s1")
    with engine.begin() as conn:
        Silences(conn).ended(ending, now)
    assert standing(engine).state is SilenceState.ENDED
    ask(engine, now)
    assert only(claim(engine, now)).state is SilenceState.PENDING


def test_a_failure_is_kept_and_tried_again_after_a_growing_pause(
    engine: Engine, now: datetime
) -> None:
    ask(engine, now)
    at = now
    for pause in (5, 10, 20):
        mine = only(claim(engine, at))
        with engine.begin() as conn:
            Silences(conn).failed(mine, "it does not answer", at)
        assert claim(engine, at + timedelta(seconds=pause - 1)) == []
        at += timedelta(seconds=pause)
    assert standing(engine).last_error == "it does not answer"
    assert standing(engine).state is SilenceState.PENDING


def test_a_silence_found_there_is_noted_once_and_forgotten_in_time(
    engine: Engine, now: datetime
) -> None:
    with engine.begin() as conn:
        silences = Silences(conn)
        until = now + timedelta(hours=2)
        assert silences.found(SUBJECT, "s9", "bo", "at it", until, now)
        assert not silences.found(SUBJECT, "s9", "bo", "at it", until, now)
        silences.release(SUBJECT, now)
        there = only(silences.standing())
        assert (there.origin, there.state) == (Origin.ALERTMANAGER, SilenceState.ACTIVE)
        silences.is_over(there, now)
        assert silences.standing() == []
        assert silences.counts() == {SilenceState.ENDED: 1}
        assert silences.forget(now) == 0
        assert silences.forget(now + timedelta(seconds=1)) == 1


def test_a_silence_that_alertmanager_forgot_is_asked_for_anew(
    engine: Engine, now: datetime
) -> None:
    ask(engine, now)
    with engine.begin() as conn:
        silences = Silences(conn)
        silences.made(only(silences.claim_due("m1", LEASE, now)), "s1", now)
        silences.is_lost(only(silences.standing()), now)
    again = standing(engine)
    assert (again.state, again.silence_id) == (SilenceState.PENDING, None)
    assert replace(again, token=0, attempts=0).created_by == "ann"
