"""What a crossing means to an operator: the rules of opening, refreshing and resolving."""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain import Alarm, AlarmKind, AlarmState, Crossing, Severity, StreamName
from monitor.policy import (
    CROSSINGS_KEPT,
    MIN_RESOLVE_AFTER,
    Action,
    Change,
    Rules,
    decide,
    kind_of,
    severity_of,
    supersede,
)

START = datetime(2026, 5, 1, tzinfo=UTC)
RULES = Rules(certified=True, expected_flag_rate=0.05)


def ids() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"id-{next(numbers)}"


def times(count: int, first: int = 0) -> list[datetime]:
    return [START + timedelta(seconds=first + i) for i in range(count)]


def crossing(stream: StreamName = StreamName.SEMANTIC, position: int = 0) -> Crossing:
    return Crossing(
        model="bears",
        bundle_sha="a" * 64,
        stream=stream,
        event_id=f"event-{position}",
        at=START + timedelta(seconds=position),
        log_evidence=20.0,
        log_threshold=17.0,
        strongest_bet="outliers 2 %",
        onset_event_id=f"event-{max(position - 10, 0)}",
        episodes_since_onset=10,
    )


def shape(changes: Iterable[Change]) -> list[tuple[Action, AlarmKind, str, datetime | None]]:
    return [(c.action, c.alarm.kind, c.alarm.incident_id, c.alarm.resolved_at) for c in changes]


def test_a_crossing_opens_an_alarm_named_for_its_stream() -> None:
    outcome = decide([], {3: [crossing(StreamName.DOMAIN, 3)]}, {}, times(5), RULES, ids())

    [change] = outcome.changes
    assert change.action is Action.OPENED
    assert change.alarm.kind is AlarmKind.DOMAIN_DRIFT
    assert change.alarm.opened_at == START + timedelta(seconds=3)
    [alarm] = outcome.standing
    assert alarm.quiet_episodes == 1
    assert alarm.state is AlarmState.OPEN


def test_a_second_crossing_refreshes_the_same_alarm_and_restarts_its_quiet_count() -> None:
    at = {3: [crossing(position=3)], 50: [crossing(position=50)]}
    outcome = decide([], at, {}, times(60), RULES, ids())

    assert [c.action for c in outcome.changes] == [Action.OPENED, Action.REFRESHED]
    [alarm] = outcome.standing
    assert alarm.crossings == 2
    assert alarm.quiet_episodes == 9
    assert [c.event_id for c in alarm.evidence.crossings] == ["event-3", "event-50"]


def test_an_alarm_resolves_at_the_hundredth_quiet_episode_and_not_before() -> None:
    before = decide([], {0: [crossing()]}, {}, times(MIN_RESOLVE_AFTER), RULES, ids())
    assert [a.quiet_episodes for a in before.standing] == [MIN_RESOLVE_AFTER - 1]

    after = decide(before.standing, {}, {}, times(1, MIN_RESOLVE_AFTER), RULES, ids())
    [change] = after.changes
    assert change.action is Action.RESOLVED
    assert change.alarm.resolved_at == START + timedelta(seconds=MIN_RESOLVE_AFTER)
    assert not after.standing


def test_an_alarm_stands_while_the_evidence_of_its_stream_still_rises() -> None:
    rises = {StreamName.SEMANTIC: {60, 140}, StreamName.DOMAIN: {200}}
    outcome = decide([], {0: [crossing()]}, rises, times(400), RULES, ids())

    assert [change.action for change in outcome.changes] == [Action.OPENED, Action.RESOLVED]
    assert outcome.changes[1].alarm.resolved_at == START + timedelta(seconds=140 + 100)
    assert "without more evidence" in outcome.changes[1].reason


def test_only_episodes_of_its_segment_are_quiet_for_an_alarm_of_that_segment() -> None:
    north = replace(crossing(), segment="site=north")
    where = [frozenset({"site=north"} if i % 4 == 0 else {"site=south"}) for i in range(500)]
    outcome = decide([], {0: [north]}, {}, times(500), RULES, ids(), where)
    [opened, resolved] = outcome.changes
    assert resolved.alarm.resolved_at == times(500)[400]
    # Once all traffic has crossed as well, every episode counts.
    both = {0: [north, crossing()]}
    [*_, resolved] = decide([], both, {}, times(500), RULES, ids(), where).changes
    assert resolved.alarm.resolved_at == times(500)[100]
    assert opened.reason.startswith("semantic site=north crossed its threshold")


def test_a_crossing_after_resolution_in_the_same_stretch_opens_a_new_alarm() -> None:
    at = {0: [crossing()], 150: [crossing(position=150)]}
    outcome = decide([], at, {}, times(200), RULES, ids())

    assert [c.action for c in outcome.changes] == [Action.OPENED, Action.RESOLVED, Action.OPENED]
    assert outcome.changes[0].alarm.id != outcome.changes[2].alarm.id
    assert outcome.changes[0].alarm.incident_id != outcome.changes[2].alarm.incident_id


def test_alarms_that_stand_open_together_share_an_incident() -> None:
    at = {5: [crossing(position=5)], 9: [crossing(StreamName.CONFIDENCE, 9)]}
    outcome = decide([], at, {}, times(20), RULES, ids())

    assert len({alarm.incident_id for alarm in outcome.standing}) == 1
    assert len({alarm.id for alarm in outcome.standing}) == 2


def test_without_a_drill_certificate_an_alarm_is_a_ticket_and_says_so() -> None:
    void = Rules(certified=True, no_certificate="void: the weights changed")
    assert severity_of(RULES, AlarmKind.NOVELTY)[0] is Severity.TICKET
    assert severity_of(void, AlarmKind.NOVELTY)[1].endswith("void: the weights changed")


def test_with_a_certificate_novelty_and_domain_drift_page_and_nothing_else_does() -> None:
    rules = Rules(certified=True, certificate="quick drill of today")
    paging = {kind for kind in AlarmKind if severity_of(rules, kind)[0] is Severity.PAGE}
    assert paging == {AlarmKind.NOVELTY, AlarmKind.DOMAIN_DRIFT}


def test_an_uncertified_reference_never_pages_whatever_its_certificate() -> None:
    rules = Rules(certified=False, certificate="d1")
    assert {severity_of(rules, kind)[0] for kind in AlarmKind} == {Severity.CHART}


def test_an_uncertified_reference_opens_no_alarm() -> None:
    outcome = decide([], {0: [crossing()]}, {}, times(3), Rules(certified=False), ids())
    assert outcome.changes == ()
    assert outcome.standing == ()


def test_an_alarm_of_a_bundle_no_longer_served_is_resolved() -> None:
    standing = decide([], {0: [crossing()]}, {}, times(3), RULES, ids()).standing

    assert supersede(standing, {"a" * 64, "c" * 64}, START) == ()
    [change] = supersede(standing, {"b" * 64}, START)
    assert change.alarm.state is AlarmState.RESOLVED
    assert "no longer served" in change.reason


def test_evidence_keeps_the_first_crossing_and_the_latest_ones() -> None:
    at = {i: [crossing(position=i)] for i in range(50)}
    [alarm] = decide([], at, {}, times(50), RULES, ids()).standing

    assert alarm.crossings == 50
    assert len(alarm.evidence.crossings) == CROSSINGS_KEPT
    assert alarm.evidence.crossings[0].event_id == "event-0"
    assert alarm.evidence.crossings[-1].event_id == "event-49"


def test_a_limit_below_one_hundred_episodes_is_refused() -> None:
    with pytest.raises(ValueError, match="least is 100"):
        Rules(certified=True, resolve_after=99)


def test_a_crossing_outside_the_stretch_is_refused() -> None:
    with pytest.raises(ValueError, match="outside the stretch"):
        decide([], {5: [crossing()]}, {}, times(5), RULES, ids())


def test_every_stream_has_a_kind_of_its_own() -> None:
    assert len({kind_of(stream) for stream in StreamName}) == len(StreamName)


POSITIONS = st.dictionaries(
    st.integers(0, 399),
    st.lists(st.sampled_from(list(StreamName)), min_size=1, max_size=4, unique=True),
    max_size=12,
)


@given(POSITIONS, st.lists(st.integers(0, 400), max_size=6))
def test_any_division_into_batches_gives_the_same_alarms(
    where: dict[int, list[StreamName]], cuts: list[int]
) -> None:
    at = {i: [crossing(s, i) for s in streams] for i, streams in where.items()}
    whole = decide([], at, {}, times(400), RULES, ids())

    new_id = ids()
    standing: tuple[Alarm, ...] = ()
    changes: list[Change] = []
    edges = [0, *sorted(cuts), 400]
    for start, end in itertools.pairwise(edges):
        part = {i - start: c for i, c in at.items() if start <= i < end}
        outcome = decide(standing, part, {}, times(end - start, start), RULES, new_id)
        standing = outcome.standing
        changes.extend(outcome.changes)

    assert shape(changes) == shape(whole.changes)
    assert standing == whole.standing


@given(POSITIONS)
def test_at_most_one_alarm_of_a_kind_stands_and_each_opening_has_one_end(
    where: dict[int, list[StreamName]],
) -> None:
    at = {i: [crossing(s, i) for s in streams] for i, streams in where.items()}
    outcome = decide([], at, {}, times(400), RULES, ids())

    standing: dict[AlarmKind, str] = {}
    for change in outcome.changes:
        kind = change.alarm.kind
        match change.action:
            case Action.OPENED:
                assert kind not in standing
                standing[kind] = change.alarm.id
            case Action.REFRESHED:
                assert standing[kind] == change.alarm.id
            case Action.RESOLVED:
                assert standing.pop(kind) == change.alarm.id
                assert change.alarm.quiet_episodes == MIN_RESOLVE_AFTER
    assert {a.kind: a.id for a in outcome.standing} == standing
    assert all(a.quiet_episodes < MIN_RESOLVE_AFTER for a in outcome.standing)
