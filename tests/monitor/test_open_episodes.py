"""Episodes between passes: which frames count, when one is settled, what restarts leave."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.domain import Mode, StreamKey, StreamName
from monitor.errors import DocumentTooNew, StreamConflict
from monitor.services.ingest import ingest
from monitor.services.streams.episodes import Episode, Frame
from monitor.services.streams.open_episodes import (
    LAG,
    MOST_OPEN,
    OpenEpisodes,
    Rule,
    gather,
    open_from_json,
)
from monitor.services.streams.state import state_from_json
from monitor.services.streams.stream import Stream
from monitor.settings import DetectorOptions, MonitorOptions
from monitor.store.alarms import Alarms
from monitor.store.engine import reading
from monitor.store.open_episodes import OpenEpisodeStore
from monitor.store.streams import Streams
from reference_data.bundle import Bundle
from tests.monitor.installation import START, Installation
from tests.monitor.test_streams import episodes as drawn
from tests.monitor.test_streams import streams

GAP = 60.0
RULE = Rule(gap_s=GAP, most_frames=4)
FAR = START + timedelta(days=1)


def frame(name: str, second: float, unit: str | None = "cam-1", of: str | None = None) -> Frame:
    seen = Episode(
        event_id=name,
        at=START + timedelta(seconds=second),
        prediction="black",
        confidence=0.9,
        p_semantic=0.123456789012345,
        p_domain=0.5,
        p_value=0.246913578024690,
        properties={"brightness": 0.1, "width": float("nan")},
        segments=frozenset({"site=north"}),
    )
    return Frame(seen=seen, episode_id=of or name, unit=unit)


def names(found: tuple[Episode, ...]) -> list[list[str]]:
    return [[each.event_id for each in (one, *one.later)] for one in found]


def left(state: OpenEpisodes) -> list[list[str]]:
    return names(tuple(each.seen for each in state.episodes))


def test_an_episode_waits_for_its_frames_and_is_settled_a_gap_after_it_began() -> None:
    frames = [frame("a", 0), frame("a2", 20, of="a"), frame("a3", 59, of="a")]

    waiting = gather(OpenEpisodes(), frames, RULE, START + timedelta(seconds=59), drained=True)
    assert waiting.settled == ()
    assert left(waiting.open) == [["a", "a2", "a3"]]
    soon = START + timedelta(seconds=GAP)
    assert not waiting.open.due(GAP, soon)
    assert waiting.open.due(GAP, soon + LAG)
    over = gather(waiting.open, [], RULE, soon + LAG, drained=True)
    assert names(over.settled) == [["a", "a2", "a3"]]
    assert over.open.episodes == ()


def test_an_event_without_a_unit_is_settled_at_once() -> None:
    found = gather(OpenEpisodes(), [frame("a", 0, unit=None)], RULE, START, drained=False)

    assert names(found.settled) == [["a"]]


def test_the_next_episode_of_a_unit_ends_the_one_before() -> None:
    found = gather(OpenEpisodes(), [frame("a", 0), frame("b", 30)], RULE, START, drained=False)

    assert names(found.settled) == [["a"]]
    assert left(found.open) == [["b"]]


def test_a_unit_that_never_pauses_is_settled_at_its_last_frame_that_counts() -> None:
    burst = [frame("a", 0), *(frame(f"a{i}", i, of="a") for i in range(1, 500))]

    found = gather(OpenEpisodes(), burst, RULE, FAR, drained=False)

    assert names(found.settled) == [["a", "a1", "a2", "a3"]]
    assert found.open.episodes == ()
    later = gather(found.open, [frame("a500", 500, of="a")], RULE, FAR, drained=True)
    assert later.settled == ()
    assert later.open.episodes == ()


def test_frames_after_their_time_or_of_an_episode_nobody_saw_begin_are_passed_over() -> None:
    late = [
        frame("a", 0),
        frame("x2", 5, of="x"),
        frame("a2", 61, of="a"),
        frame("a3", -5, of="a"),
    ]
    found = gather(OpenEpisodes(), late, RULE, START + timedelta(seconds=62), drained=True)

    # A frame whose clock ran back is still a frame of its episode.
    assert left(found.open) == [["a", "a3"]]


def test_episodes_are_settled_in_the_order_they_began() -> None:
    frames = [frame("a", 0, "cam-1"), frame("b", 1, None), frame("c", 2, "cam-2")]
    found = gather(OpenEpisodes(), frames, RULE, FAR, drained=False)
    assert found.settled == ()

    later = gather(found.open, [frame("d", 66, "cam-3")], RULE, FAR, drained=False)

    assert names(later.settled) == [["a"], ["b"]]
    assert [each.number for each in later.settled] == [0, 1]
    assert left(later.open) == [["c"], ["d"]]
    assert later.open.next_number == 4


def test_time_passes_with_the_record_until_it_is_read_to_its_end() -> None:
    late = gather(OpenEpisodes(), [frame("a", 0)], RULE, FAR, drained=False)
    assert left(late.open) == [["a"]]

    done = gather(late.open, [frame("a2", 3, of="a")], RULE, FAR, drained=True)
    assert names(done.settled) == [["a", "a2"]]


def test_a_clock_that_is_ahead_does_not_make_the_time_of_others_pass() -> None:
    frames = [frame("a", 0), frame("b", 9_999, unit="cam-2")]
    found = gather(OpenEpisodes(), frames, RULE, START + timedelta(seconds=1), drained=True)

    assert left(found.open) == [["a"], ["b"]]
    over = gather(found.open, [], RULE, START + timedelta(seconds=70), drained=True)
    assert names(over.settled) == [["a"], ["b"]]


def test_there_is_room_for_so_many_open_episodes_and_the_oldest_go_first() -> None:
    many = [frame(f"e{i}", 0, unit=f"u{i}") for i in range(MOST_OPEN + 3)]
    found = gather(OpenEpisodes(), many, RULE, START, drained=True)

    assert names(found.settled) == [["e0"], ["e1"], ["e2"]]
    assert len(found.open.episodes) == MOST_OPEN


def test_one_frame_an_episode_is_the_first_frame_rule() -> None:
    rule = Rule(gap_s=GAP, most_frames=1)
    frames = [frame("a", 0), frame("a2", 1, of="a"), frame("b", 2, unit="cam-2")]

    assert names(gather(OpenEpisodes(), frames, rule, START, drained=False).settled) == [
        ["a"],
        ["b"],
    ]


def test_open_episodes_survive_json_and_newer_ones_are_refused() -> None:
    frames = [frame("a", 0), frame("a2", 1, of="a"), frame("b", 2, unit="cam-2")]
    before = gather(OpenEpisodes(), frames, RULE, START, drained=False).open

    after = open_from_json(before.to_json())

    assert after.to_json() == before.to_json()
    assert after.episodes[0].seen.later[0].p_semantic == frames[1].seen.p_semantic
    # What is not finite was not observed, and is not kept.
    assert after.episodes[0].seen.properties == {"brightness": 0.1}
    with pytest.raises(DocumentTooNew, match="Upgrade"):
        open_from_json(before.to_json().replace('"format":1', '"format":2'))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16), st.lists(st.integers(0, 60), max_size=4))
def test_no_division_into_passes_shows_in_what_is_settled(seed: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    frames, second = [], 0.0
    begun: dict[str, str] = {}
    for number in range(60):
        second += float(rng.exponential(15))
        unit = f"u{rng.integers(3)}"
        fresh = unit not in begun or rng.random() < 0.3
        name = f"e{number}"
        begun[unit] = name if fresh else begun[unit]
        frames.append(frame(name, second, unit, begun[unit]))
    whole = gather(OpenEpisodes(), frames, RULE, FAR, drained=False)
    state, settled = OpenEpisodes(), list[Episode]()
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), 60], strict=True):
        part = gather(open_from_json(state.to_json()), frames[start:end], RULE, FAR, drained=False)
        settled += part.settled
        state = part.open

    assert names(tuple(settled)) == names(whole.settled)
    assert left(state) == left(whole.open)


def bursts(count: int, seed: int = 0, worst: float = 1.0, frames: int = 3) -> list[Episode]:
    """Draw episodes of so many frames, numbered from 0."""
    flat = drawn(count * frames, seed=seed, worst=worst)
    return [
        replace(flat[i * frames], number=i, later=tuple(flat[i * frames + 1 : (i + 1) * frames]))
        for i in range(count)
    ]


def semantic(log_threshold: float = 8.0) -> Stream:
    return streams(log_threshold)[StreamName.SEMANTIC]


def test_a_stream_pays_the_mean_of_an_episodes_frames_beside_its_first() -> None:
    stream, settled = semantic(1e9), bursts(40)
    played = stream.play(stream.fresh(), settled, [1.0] * 40).state.capital

    bets = len(stream.bets.labels)
    first = stream.play(
        stream.fresh(), [replace(each, later=()) for each in settled], [1.0] * 40
    ).state.capital
    assert played.log_capital[:bets] == first.log_capital
    by_hand = np.full(bets, -np.inf)
    for each in settled:
        paid = np.exp(stream.bets.log_e(stream.observe([each, *each.later]))).mean(axis=0)
        by_hand = np.logaddexp(by_hand, 0.0) + np.log(paid)
    assert played.log_capital[bets:] == pytest.approx(by_hand)


def test_frames_that_come_alone_leave_a_stream_as_it_always_was() -> None:
    stream, settled = semantic(), bursts(40, frames=1)
    played = stream.play(stream.fresh(), settled, [1.0] * 40).state

    assert len(played.capital.log_capital) == len(stream.bets.labels)
    mixed = stream.play(played, bursts(5, seed=2), [1.0] * 5).state
    alone = stream.play(mixed, bursts(5, seed=3, frames=1), [1.0] * 5).state
    assert len(alone.capital.log_capital) == 2 * len(stream.bets.labels)


def test_strange_first_frames_alarm_before_their_episodes_are_settled() -> None:
    stream = semantic()
    known = stream.play(stream.fresh(), bursts(30), [1.0] * 30).state
    strange = [replace(e, number=30 + i) for i, e in enumerate(bursts(12, 1, 0.01, frames=1))]

    ahead = stream.look_ahead(known, strange, [1.0] * 12)

    first = min(ahead.crossings)
    settled = min(stream.play(known, strange, [1.0] * 12).crossings)
    assert settled <= first <= settled + 2
    crossing = ahead.crossings[first]
    assert crossing.event_id == strange[first].event_id
    assert crossing.onset_event_id in {each.event_id for each in strange}
    # It begins again after the last episode that alarmed: what came up to there is used up.
    assert ahead.state.used == strange[max(ahead.crossings)].number
    assert ahead.state.capital == stream.fresh().capital
    assert state_from_json(ahead.state.to_json()) == ahead.state
    assert stream.look_ahead(known, bursts(5, 9, frames=1), [1.0] * 5).state == known


def test_where_first_frames_are_unlike_the_others_only_means_pay() -> None:
    stream, settled = replace(semantic(), first_alike=False), bursts(40)
    played = stream.play(stream.fresh(), settled, [1.0] * 40).state.capital

    both = semantic().play(stream.fresh(), settled, [1.0] * 40).state.capital
    assert played.log_capital == both.log_capital[len(stream.bets.labels) :]
    strange = bursts(12, 1, 0.01, frames=1)
    assert stream.play(stream.fresh(), strange, [1.0] * 12).crossings
    assert not stream.look_ahead(stream.fresh(), strange, [1.0] * 12).crossings


def test_a_state_that_knew_first_frames_alone_is_continued() -> None:
    stream = semantic()
    state = stream.play(stream.fresh(), bursts(10, frames=1), [1.0] * 10).state
    saved = json.loads(state.to_json())
    older = {**{k: v for k, v in saved.items() if k != "used"}, "format": 2}

    assert stream.resume(json.dumps(older)) == state


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def shots(
    site: Installation, bundle: Bundle, count: int, frames: int, *, novel: bool = False
) -> list[str]:
    """Record bursts of one camera, a second between frames and a gap between bursts."""
    events = []
    for _ in range(count):
        site.clock += timedelta(seconds=2 * GAP)
        begun = None
        for _ in range(frames):
            p = float(site.rng.uniform(0, 0.01)) if novel else None
            event = site.event(bundle, unit="cam-1", episode_id=begun, p_semantic=p)
            begun = begun or event.event_id
            events.append(event)
    return site.record(events)


def stored(site: Installation, bundle: Bundle) -> tuple[OpenEpisodes, dict[StreamKey, Any]]:
    with reading(site.engine) as conn:
        state = OpenEpisodeStore(conn).load("bears", bundle.digest).state
        loaded = Streams(conn).load("bears", bundle.digest)
    assert state is not None
    return open_from_json(state), {k: state_from_json(v.state) for k, v in loaded.items()}


def test_an_episode_cut_by_a_restart_is_the_episode_it_was(tmp_path: Path) -> None:
    whole, cut = (Installation(tmp_path / name) for name in ("whole", "cut"))
    found = []
    for site, passes in ((whole, 1), (cut, 3)):
        bundle = site.serve()
        shots(site, bundle, 2, 4)
        if passes > 1:
            ingest(site.monitor(), site.clock)
        site.clock += timedelta(seconds=2 * GAP)
        burst = [site.event(bundle, unit="cam-1")]
        burst += [site.event(bundle, unit="cam-1", episode_id=burst[0].event_id) for _ in range(2)]
        for event in burst:
            site.record([event])
            if passes > 1:
                ingest(site.monitor(), site.clock)
        site.clock += timedelta(seconds=2 * GAP)
        ingest(site.monitor(), site.clock)
        found.append(stored(site, bundle))

    (first, one), (second, other) = found
    assert first.episodes == second.episodes == ()
    assert first.next_number == second.next_number == 3
    key = StreamKey(stream=StreamName.SEMANTIC)
    assert one[key].capital.episodes == other[key].capital.episodes == 3
    assert len(one[key].capital.log_capital) == 2 * len(semantic().bets.labels)
    assert one[key].capital.log_capital == pytest.approx(other[key].capital.log_capital)


def test_a_pass_without_new_events_settles_what_has_had_its_time(
    installation: Installation,
) -> None:
    bundle = installation.serve()
    shots(installation, bundle, 1, 3)
    [seen] = ingest(installation.monitor(), installation.clock)
    [idle] = ingest(installation.monitor(), installation.clock)
    installation.clock += timedelta(seconds=GAP) + LAG
    [settled] = ingest(installation.monitor(), installation.clock)
    [again] = ingest(installation.monitor(), installation.clock)

    assert [each.episodes for each in (seen, idle, settled, again)] == [0, 0, 1, 0]
    state, _ = stored(installation, bundle)
    assert state.episodes == ()


def test_novel_bursts_alarm_while_the_last_of_them_goes_on(installation: Installation) -> None:
    bundle = installation.serve()
    shots(installation, bundle, 20, 2)
    strange = shots(installation, bundle, 6, 2, novel=True)

    [intake] = ingest(installation.monitor(), installation.clock)

    assert len(intake.opened) == 1
    with reading(installation.engine) as conn:
        [alarm] = Alarms(conn).all()
    assert alarm.evidence.crossings[0].event_id in strange
    used = [state.used for state in stored(installation, bundle)[1].values()]
    assert max(used) <= 25


def test_many_cameras_at_once_alarm_before_any_of_them_is_settled(
    installation: Installation,
) -> None:
    bundle = installation.serve()
    strange = installation.rng.uniform(0, 0.01, 30).tolist()
    events = [
        installation.event(bundle, unit=f"cam-{i}", p_semantic=p) for i, p in enumerate(strange)
    ]
    installation.record(events)

    [intake] = ingest(installation.monitor(), installation.clock)
    assert intake.episodes == 0
    assert len(intake.opened) == 1
    state, before = stored(installation, bundle)
    assert len(state.episodes) == 30
    key = StreamKey(stream=StreamName.SEMANTIC)
    assert before[key].used >= 5

    installation.clock += timedelta(seconds=2 * GAP)
    [settled] = ingest(installation.monitor(), installation.clock)
    assert settled.episodes == 30
    after = stored(installation, bundle)[1][key]
    # Episodes that one alarm used up are no evidence for another.
    assert after.capital.episodes <= 29 - before[key].used
    balanced = StreamKey(stream=StreamName.SEMANTIC, mode=Mode.BALANCED)
    assert balanced in before


def test_of_two_monitors_that_settle_the_same_episode_one_saves(
    installation: Installation,
) -> None:
    bundle = installation.serve()
    shots(installation, bundle, 1, 3)
    ingest(installation.monitor(), installation.clock)
    now = datetime.now(UTC)
    with installation.engine.begin() as conn:
        store = OpenEpisodeStore(conn)
        loaded = store.load("bears", bundle.digest)
        assert loaded.state is not None
        store.save("bears", bundle.digest, loaded.state, expected_version=loaded.version, now=now)
        with pytest.raises(StreamConflict, match="episodes"):
            store.save(
                "bears", bundle.digest, loaded.state, expected_version=loaded.version, now=now
            )


def test_with_one_frame_an_episode_nothing_waits(tmp_path: Path) -> None:
    detectors = DetectorOptions(clock="episodes", false_alarm_episodes=300, episode_frames=1)
    site = Installation(tmp_path, MonitorOptions(detectors=detectors))
    bundle = site.serve()
    shots(site, bundle, 4, 3)

    [intake] = ingest(site.monitor(), site.clock)

    assert (intake.events, intake.episodes) == (12, 4)
    assert stored(site, bundle)[0].episodes == ()
