"""Acknowledging here silences there, and the other way round, whatever fails in between."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from pydantic import SecretStr, ValidationError

from monitor.domain import Alarm
from monitor.errors import (
    AlertmanagerRefused,
    AlertmanagerUnreachable,
    SignalResolved,
)
from monitor.jobs import forget_signals, schedule
from monitor.services.acknowledge import acknowledge
from monitor.services.context import Context
from monitor.services.ingest import ingest
from monitor.services.notices import targets
from monitor.services.signals.acknowledge import acknowledge_signal, withdraw, withdraw_signal
from monitor.services.signals.alertmanager import (
    AlertStatus,
    FoundSilence,
    Standing,
    StandingAlert,
    address_of,
)
from monitor.services.signals.listing import (
    latest_silences,
    list_signals,
    list_silences,
    say_silence,
    told_of,
)
from monitor.services.signals.poll import poll
from monitor.services.signals.push import push
from monitor.services.signals.receive import receive
from monitor.settings import DetectorOptions, MonitorOptions
from monitor.store.alarms import Alarms
from monitor.store.audit import Audit
from monitor.store.engine import reading
from monitor.store.silence import Matcher, SilenceState
from tests.monitor.installation import Installation
from tests.monitor.test_signals import LOST, NOVELTY, alert, payload

URL = SecretStr("http://fieldwatch:secret@127.0.0.1:9/am/")
Made = tuple[tuple[Matcher, ...], str, str]


@dataclass
class FakeAlertmanager:
    """Alertmanager in memory, which may be away, refuse, or take an order and lose the answer."""

    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of the alerts that fire, by fingerprint."""
    held: dict[str, FoundSilence] = field(default_factory=dict)
    made: list[Made] = field(default_factory=list)
    silenced: dict[str, list[str]] = field(default_factory=dict)
    started: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    away: bool = False
    refuses: bool = False
    loses_answers: bool = False

    def standing(self) -> Standing:
        self._answer()
        document = {"uptime": self.started, "config": {"original": "route: {}"}}
        return msgspec.convert(document, Standing)

    def alerts(self) -> Sequence[StandingAlert]:
        self._answer()
        return [
            StandingAlert(
                fingerprint=fingerprint,
                labels=labels,
                starts_at=datetime(2026, 6, 1, tzinfo=UTC),
                status=AlertStatus(
                    silenced_by=tuple(
                        silence
                        for silence in self.silenced.get(fingerprint, ())
                        if not self.held[silence].is_expired
                    )
                ),
            )
            for fingerprint, labels in self.labels.items()
        ]

    def silences(self) -> Mapping[str, FoundSilence]:
        self._answer()
        return dict(self.held)

    def silence(
        self,
        matchers: Sequence[Matcher],
        created_by: str,
        comment: str,
        starts_at: datetime,
        ends_at: datetime,
    ) -> str:
        self._answer()
        if self.refuses:
            raise AlertmanagerRefused("am", "make a silence", "400 no")
        self.made.append((tuple(matchers), created_by, comment))
        silence_id = self.put(created_by, comment, ends_at)
        if self.loses_answers:
            raise AlertmanagerUnreachable("am", "timed out")
        return silence_id

    def expire(self, silence_id: str) -> None:
        self._answer()
        self.held[silence_id] = self._found(silence_id, "expired")

    def put(self, created_by: str, comment: str, ends_at: datetime, *alerts: str) -> str:
        silence_id = f"s{len(self.held) + 1}"
        self.held[silence_id] = msgspec.convert(
            {
                "id": silence_id,
                "status": {"state": "active"},
                "createdBy": created_by,
                "comment": comment,
                "endsAt": ends_at,
                "updatedAt": datetime.now(UTC),
            },
            FoundSilence,
        )
        for each in alerts:
            self.silenced.setdefault(each, []).append(silence_id)
        return silence_id

    def expired(self) -> set[str]:
        return {each.id for each in self.held.values() if each.is_expired}

    def _found(self, silence_id: str, state: str) -> FoundSilence:
        document = msgspec.to_builtins(self.held[silence_id])
        return msgspec.convert({**document, "status": {"state": state}}, FoundSilence, strict=False)

    def _answer(self) -> None:
        if self.away:
            raise AlertmanagerUnreachable("am", "connection refused")


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    detectors = DetectorOptions(clock="episodes", false_alarm_episodes=300)
    options = MonitorOptions(detectors=detectors, alertmanager_url=URL, silence_hours=8)
    return Installation(tmp_path, options)


@pytest.fixture
def alertmanager() -> FakeAlertmanager:
    return FakeAlertmanager()


@pytest.fixture
def alarm(installation: Installation) -> Alarm:
    bundle = installation.serve()
    installation.novel(bundle, 30)
    ingest(installation.monitor(), installation.clock)
    return now_of(installation)


def now_of(installation: Installation) -> Alarm:
    with reading(installation.engine) as conn:
        [found] = [each for each in Alarms(conn).all() if each.kind == "novelty"]
    return found


def resolve(installation: Installation, alarm: Alarm) -> None:
    with installation.engine.begin() as conn:
        Alarms(conn).resolve(alarm, installation.clock)


def seen(installation: Installation, alarm: Alarm) -> Context:
    context = installation.monitor()
    acknowledge(context, alarm.id, "ann", "lens cleaned", installation.clock)
    return context


def make_due(installation: Installation) -> None:
    with installation.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE silences SET not_before = '2026-01-01 00:00:00.000000'")


def signal_of(installation: Installation) -> str:
    context = installation.monitor()
    receive(context, payload(alert()))
    [signal] = list_signals(context)
    return signal.id


def test_an_acknowledgement_is_recorded_at_once_and_becomes_one_silence(
    installation: Installation, alarm: Alarm, alertmanager: FakeAlertmanager
) -> None:
    context = seen(installation, alarm)
    [pending] = list_silences(context)
    assert say_silence(pending) == "silence pending"
    assert push(context, alertmanager).made == 1
    assert push(installation.monitor(owner="m2"), alertmanager).made == 0
    [(matchers, person, comment)] = alertmanager.made
    # Without a certificate the alarm is a ticket, and so is its alert.
    assert {each.name: each.value for each in matchers} == {
        "alertname": "FieldwatchDriftTicket",
        "model": "bears",
        "version": "1",
        "kind": "novelty",
    }
    assert person == "ann"
    assert comment == f"lens cleaned [fieldwatch {pending.id}]"
    [silence] = told_of(context, alarm.id).silences
    assert (silence.state, silence.silence_id) == (SilenceState.ACTIVE, "s1")
    hours = (silence.ends_at - silence.created_at) / timedelta(hours=1)
    assert hours == pytest.approx(8)
    assert latest_silences(context, [alarm]) == {alarm.id: silence}
    # What was made here acknowledges nothing, whatever it silences.
    alertmanager.labels["f1"], alertmanager.silenced["f1"] = NOVELTY, ["s1"]
    assert poll(context, alertmanager).acknowledged == 0


def test_while_alertmanager_is_away_the_silence_stays_pending_with_the_cause(
    installation: Installation, alarm: Alarm, alertmanager: FakeAlertmanager
) -> None:
    context = seen(installation, alarm)
    alertmanager.away = True
    with pytest.raises(AlertmanagerUnreachable):
        push(context, alertmanager)
    assert now_of(installation).acknowledged_by == "ann"
    [waiting] = list_silences(context)
    assert waiting.state is SilenceState.PENDING
    assert waiting.last_error is not None
    assert "does not answer" in waiting.last_error
    alertmanager.away = False
    assert push(context, alertmanager).made == 0
    make_due(installation)
    assert push(context, alertmanager).made == 1
    [stands] = list_silences(context)
    assert stands.last_error is None


def test_a_silence_whose_answer_was_lost_is_found_again_and_not_made_twice(
    installation: Installation, alarm: Alarm, alertmanager: FakeAlertmanager
) -> None:
    context = seen(installation, alarm)
    alertmanager.loses_answers = True
    with pytest.raises(AlertmanagerUnreachable):
        push(context, alertmanager)
    alertmanager.loses_answers = False
    # Nor is it taken for one that somebody made there.
    alertmanager.labels["f1"], alertmanager.silenced["f1"] = NOVELTY, ["s1"]
    assert poll(context, alertmanager).acknowledged == 0
    make_due(installation)
    push(installation.monitor(owner="m2"), alertmanager)
    assert len(alertmanager.made) == 1
    assert [each.silence_id for each in list_silences(context)] == ["s1"]


def test_a_refusal_puts_one_silence_off_and_holds_nothing_else_up(
    installation: Installation, alarm: Alarm, alertmanager: FakeAlertmanager
) -> None:
    context = seen(installation, alarm)
    alertmanager.refuses = True
    assert len(push(context, alertmanager).refused) == 1
    [waiting] = list_silences(context)
    assert waiting.last_error is not None
    assert "400 no" in waiting.last_error


def test_a_resolved_alarm_and_a_withdrawn_acknowledgement_end_the_silence(
    installation: Installation, alarm: Alarm, alertmanager: FakeAlertmanager
) -> None:
    context = seen(installation, alarm)
    push(context, alertmanager)
    withdrawn = withdraw(context, alarm.id, "bob", "a slip", installation.clock)
    assert withdrawn.acknowledged_by is None
    with reading(installation.engine) as conn:
        [latest, *_] = Audit(conn).all(target=f"alarm/{alarm.id}")
    assert (latest.actor, latest.action) == ("bob", "alarm.acknowledgement_withdrawn")
    assert push(context, alertmanager).ended == 1
    assert alertmanager.expired() == {"s1"}

    acknowledge(context, alarm.id, "bob", "now it is", installation.clock)
    push(context, alertmanager)
    assert alertmanager.expired() == {"s1"}
    resolve(installation, alarm)
    poll(context, alertmanager)
    push(context, alertmanager)
    assert alertmanager.expired() == {"s1", "s2"}
    assert list_silences(context) == []
    assert len(list_silences(context, everything=True)) == 2
    assert forget_signals(context) == 0


def test_a_silence_outlasts_its_alarm_until_the_alert_fires_no_more(
    installation: Installation, alarm: Alarm, alertmanager: FakeAlertmanager
) -> None:
    context = seen(installation, alarm)
    push(context, alertmanager)
    resolve(installation, alarm)

    def expired() -> set[str]:
        poll(context, alertmanager)
        push(context, alertmanager)
        return alertmanager.expired()

    # For a minute longer, in which nobody is to be paged again for what is over.
    alertmanager.labels = {
        "f1": {**NOVELTY, "alertname": "FieldwatchDriftTicket", "version": "1"},
        "f2": LOST,
    }
    assert expired() == set()
    # Nor by an Alertmanager that has just begun, and was not told yet.
    started, alertmanager.started = alertmanager.started, datetime.now(UTC)
    del alertmanager.labels["f1"]
    assert expired() == set()
    alertmanager.started = started
    assert expired() == {"s1"}


def test_a_withdrawal_before_the_silence_was_made_leaves_none(
    installation: Installation, alarm: Alarm, alertmanager: FakeAlertmanager
) -> None:
    context = seen(installation, alarm)
    withdraw(context, alarm.id, "ann", "a slip", installation.clock)
    push(context, alertmanager)
    assert alertmanager.made == []
    assert list_silences(context) == []


def test_a_silence_made_there_acknowledges_here_once_in_a_name_nobody_verified(
    installation: Installation, alarm: Alarm, alertmanager: FakeAlertmanager
) -> None:
    context = installation.monitor()
    until = datetime.now(UTC) + timedelta(hours=2)
    alertmanager.labels["f1"] = NOVELTY
    alertmanager.put("bo\x1b[31m", "I am\non it", until, "f1")
    assert poll(context, alertmanager).acknowledged == 1
    assert poll(installation.monitor(owner="m2"), alertmanager).acknowledged == 0
    acknowledged = now_of(installation)
    assert (acknowledged.acknowledged_by, acknowledged.acknowledged_silence) == ("bo[31m", "s1")
    assert acknowledged.acknowledged_reason == "I amon it"
    push(context, alertmanager)
    assert alertmanager.made == []
    [silence] = told_of(context, alarm.id).silences
    assert say_silence(silence) == f"silenced there until {until:%m-%d %H:%M}"
    with reading(installation.engine) as conn:
        [latest, *_] = Audit(conn).all(target=f"alarm/{alarm.id}")
    assert latest.detail["silence"] == "s1"
    assert latest.detail["restarted"] == ["semantic"]

    alertmanager.expire("s1")
    poll(context, alertmanager)
    [silence] = told_of(context, alarm.id).silences
    assert say_silence(silence) == "silence over"
    assert now_of(installation).acknowledged_by == "bo[31m"


def test_a_silence_ended_there_is_shown_so_and_one_that_was_lost_is_made_again(
    installation: Installation, alarm: Alarm, alertmanager: FakeAlertmanager
) -> None:
    context = seen(installation, alarm)
    push(context, alertmanager)
    alertmanager.held.clear()
    poll(context, alertmanager)
    push(context, alertmanager)
    assert len(alertmanager.made) == 2
    [silence] = list_silences(context)
    assert silence.state is SilenceState.ACTIVE
    alertmanager.expire("s1")
    poll(context, alertmanager)
    push(context, alertmanager)
    assert len(alertmanager.made) == 2
    assert latest_silences(context, [alarm])[alarm.id].state is SilenceState.ENDED
    assert now_of(installation).acknowledged_by == "ann"


def test_a_signal_is_acknowledged_silenced_by_all_its_labels_and_withdrawn(
    installation: Installation, alertmanager: FakeAlertmanager
) -> None:
    context, now = installation.monitor(), installation.clock
    signal_id = signal_of(installation)
    first = acknowledge_signal(context, signal_id[:30], "ann", "disk ordered", now)
    assert acknowledge_signal(context, signal_id, "bob", "me too", now) == first
    assert first.acknowledged_by == "ann"
    push(context, alertmanager)
    [(matchers, _, _)] = alertmanager.made
    assert {each.name: each.value for each in matchers} == LOST
    assert withdraw_signal(context, signal_id, "ann", "a slip", now).acknowledged_by is None
    push(context, alertmanager)
    assert alertmanager.expired() == {"s1"}
    receive(context, payload(alert(status="resolved")))
    with pytest.raises(SignalResolved, match="FieldwatchEventsLost"):
        acknowledge_signal(context, signal_id, "ann", "late", now)


def test_a_silence_made_there_acknowledges_a_signal_that_the_webhook_never_told(
    installation: Installation, alertmanager: FakeAlertmanager
) -> None:
    context = installation.monitor()
    alertmanager.labels |= {"f1": LOST, "f2": {"alertname": "NodeDown"}, "f3": {"alertname": ""}}
    alertmanager.put("bo", "maintenance", datetime.now(UTC) + timedelta(hours=1), "f1", "f2")
    assert poll(context, alertmanager).acknowledged == 1
    [signal] = list_signals(context)
    assert (signal.name, signal.acknowledged_by) == ("FieldwatchEventsLost", "bo")
    assert signal.acknowledged_silence == "s1"


def test_an_alert_that_is_gone_resolves_without_a_word_once_alertmanager_knows_all(
    installation: Installation, alertmanager: FakeAlertmanager
) -> None:
    context = installation.monitor()
    signal_of(installation)
    alertmanager.started = datetime.now(UTC) - timedelta(minutes=1)
    assert poll(context, alertmanager).ended == 0
    alertmanager.started = datetime.now(UTC) - timedelta(minutes=6)
    assert poll(context, alertmanager).ended == 1
    assert list_signals(context) == []


def test_nothing_changes_while_alertmanager_is_away(
    installation: Installation, alertmanager: FakeAlertmanager
) -> None:
    context = installation.monitor()
    signal_of(installation)
    alertmanager.away = True
    with pytest.raises(AlertmanagerUnreachable):
        poll(context, alertmanager)
    assert len(list_signals(context)) == 1


def test_apprise_is_off_where_alertmanager_is_configured(installation: Installation) -> None:
    urls = (SecretStr("json://127.0.0.1:9/token"),)
    assert len(targets(MonitorOptions(notify_urls=urls))) == 2
    assert targets(MonitorOptions(notify_urls=urls, alertmanager_url=URL)) == ("log",)
    jobs = {job.name for job in schedule(installation.monitor())}
    assert {"silences", "forget_signals"} <= jobs
    with pytest.raises(ValidationError, match="http"):
        MonitorOptions(alertmanager_url=SecretStr("127.0.0.1:9093"))


def test_a_password_in_the_address_is_never_shown() -> None:
    assert address_of(URL.get_secret_value()) == "http://127.0.0.1:9/am"
    assert "secret" not in repr(MonitorOptions(alertmanager_url=URL))
