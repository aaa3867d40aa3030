"""Streams: what they see, how they move, and that divisions never show."""

import itertools
import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.domain import Crossing, Mode, StreamKey, StreamName
from monitor.errors import DocumentTooNew
from monitor.services.streams.baseline import Baseline, FlaggedRows
from monitor.services.streams.episodes import Episode
from monitor.services.streams.opening import (
    delta_of,
    detector_configuration,
    open_streams,
    unwatched,
    watchlist,
)
from monitor.services.streams.state import StreamState, state_from_json
from monitor.services.streams.stream import Stream, Terms, evidence_ratio
from monitor.settings import DetectorOptions

START = datetime(2026, 5, 1, tzinfo=UTC)
VOCAB = ("black", "grizzly", "teddy")
ROWS = 300


def baseline(rows: int = ROWS) -> Baseline:
    rng = np.random.default_rng(7)
    return Baseline(
        bundle_sha="b" * 64,
        seed=3,
        vocab=VOCAB,
        rows=rows,
        unsureness=np.sort(rng.beta(1, 9, rows)) - 1.0,
        class_counts=np.array([rows - 2 * (rows // 3), rows // 3, rows // 3]),
        flagged=FlaggedRows(alpha=0.05, beyond=rows // 20 + 1, flagged=rows // 20 + 1),
        properties={
            "brightness": np.sort(rng.normal(size=rows)),
            "width": np.full(rows, 640.0),
        },
    )


def granted(log_threshold: float = 8.0, terms: str = "t") -> dict[StreamKey, Terms]:
    each = Terms(log_threshold=log_threshold, text=terms, claim="c")
    return {StreamKey(stream=name): each for name in StreamName}


def streams(log_threshold: float = 8.0, terms: str = "t") -> dict[StreamName, Stream]:
    opened = open_streams("bears", baseline(), granted(log_threshold, terms), delta=0.05)
    return {key.stream: each for key, each in opened.items() if key.mode is Mode.CERTIFIED}


def episodes(
    count: int, seed: int = 0, worst: float = 1.0, brighter: float = 0.0, width: float = 640.0
) -> list[Episode]:
    """Healthy episodes, or with p-values below `worst`, or brighter, or of another width."""
    rng = np.random.default_rng(seed)
    return [
        Episode(
            event_id=f"e-{seed}-{i:04d}",
            at=START + timedelta(seconds=i),
            prediction=VOCAB[int(rng.integers(3))],
            confidence=float(1 - rng.beta(1, 9)),
            p_semantic=(p := float(rng.uniform(0, worst))),
            p_domain=float(rng.uniform()),
            p_value=p,
            properties={"brightness": float(rng.normal(brighter)), "width": width},
        )
        for i in range(count)
    ]


def test_healthy_episodes_cross_nothing_and_strange_ones_cross_their_own_stream() -> None:
    for name, stream in streams().items():
        played = stream.play(stream.fresh(), episodes(100), [1.0] * 100)
        healthy, crossings = played.state, played.crossings
        assert not crossings
        assert healthy.capital.episodes == 100
        strange = episodes(100, seed=1, worst=0.02)
        crossings = stream.play(healthy, strange, [1.0] * 100).crossings
        assert bool(crossings) is (name in {StreamName.SEMANTIC, StreamName.FLAG_RATE})


def test_the_strongest_bet_names_the_property_that_moved() -> None:
    stream = streams()[StreamName.PROPERTIES]
    healthy = stream.play(stream.fresh(), episodes(300), [1.0] * 300)
    assert not healthy.crossings

    brighter = stream.play(healthy.state, episodes(100, seed=1, brighter=2.0), [1.0] * 100)
    assert {c.strongest_bet.split()[0] for c in brighter.crossings.values()} == {"brightness"}
    darker = stream.play(healthy.state, episodes(100, seed=1, brighter=-2.0), [1.0] * 100)
    assert {c.strongest_bet.split()[1] for c in darker.crossings.values()} <= {"down", "low"}


def test_a_property_that_never_varied_is_no_evidence_until_it_does() -> None:
    stream = streams()[StreamName.PROPERTIES]
    healthy = stream.play(stream.fresh(), episodes(1_000), [1.0] * 1_000)
    assert not healthy.crossings
    wider = stream.play(healthy.state, episodes(40, seed=1, width=641.0), [1.0] * 40)
    assert {c.strongest_bet.split()[0] for c in wider.crossings.values()} == {"width"}


def test_a_property_an_input_lacks_is_not_observed() -> None:
    stream = streams()[StreamName.PROPERTIES]
    bare = [replace(e, properties={"width": math.nan}) for e in episodes(50)]
    observed = stream.observe(bare)
    assert (observed == -1).all()
    assert (stream.bets.log_e(observed) == 0).all()
    played = stream.play(stream.fresh(), bare, [1.0] * 50)
    assert played.state.capital.log_capital == pytest.approx([math.log(50)] * 36)


def test_a_bundle_without_held_out_rows_has_neither_flag_rate_nor_properties() -> None:
    older = replace(baseline(), flagged=None, properties={})
    watched = {key.stream for key in watchlist(older, DetectorOptions())}
    assert set(StreamName) - watched == {StreamName.FLAG_RATE, StreamName.PROPERTIES}
    assert "import again" in str(unwatched(StreamName.FLAG_RATE, older))
    assert "import again" in str(unwatched(StreamName.PROPERTIES, older))


def test_the_parts_of_delta_add_up_to_it_with_and_without_segments() -> None:
    keys = [StreamKey(stream=name) for name in StreamName]
    assert math.fsum(delta_of(key, keys, 0.03) for key in keys) == pytest.approx(0.03)
    segments = [
        StreamKey(stream=name, segment=f"site={site}")
        for site in ("north", "south")
        for name in (StreamName.SEMANTIC, StreamName.DOMAIN)
    ]
    parts = {key: delta_of(key, [*keys, *segments], 0.03) for key in [*keys, *segments]}
    assert math.fsum(parts.values()) == pytest.approx(0.03)
    assert math.fsum(parts[key] for key in segments) == pytest.approx(0.015)
    assert parts[keys[0]] == max(parts.values())


def test_a_state_saved_before_claims_were_kept_begins_again() -> None:
    stream = streams()[StreamName.DOMAIN]
    saved = json.loads(stream.play(stream.fresh(), episodes(9), [1.0] * 9).state.to_json())
    older = {
        "format": 1,
        **{key: saved[key] for key in ("configuration", "capital", "marks", "granted_until")},
    }
    assert state_from_json(json.dumps(older)).claim == ""
    assert stream.resume(json.dumps({**older, "configuration": "of then"})) == stream.fresh()


def test_the_detector_configuration_changes_with_whatever_a_certificate_rests_on() -> None:
    options, known = DetectorOptions(), baseline()
    same = detector_configuration(options, known)
    assert detector_configuration(DetectorOptions(), baseline()) == same
    others = [
        detector_configuration(DetectorOptions(delta=0.01), known),
        detector_configuration(DetectorOptions(clock="episodes"), known),
        detector_configuration(DetectorOptions(false_alarm_days=30), known),
        detector_configuration(DetectorOptions(weights={StreamName.SEMANTIC: 1.0}), known),
        detector_configuration(options, known, episode_gap_s=5.0),
        detector_configuration(options, baseline(200)),
        detector_configuration(options, replace(known, flagged=None)),
    ]
    assert len({same, *others}) == 8


def test_a_crossing_tells_where_its_evidence_began() -> None:
    stream = streams()[StreamName.SEMANTIC]
    stretch = [*episodes(80), *episodes(40, seed=1, worst=0.02)]
    crossings = stream.play(stream.fresh(), stretch, [1.0] * 120).crossings

    first = min(crossings)
    found = crossings[first]
    begun = next(i for i, e in enumerate(stretch) if e.event_id == found.onset_event_id)
    assert 75 <= begun <= first
    assert found.episodes_since_onset == first - begun + 1
    assert found.log_evidence >= found.log_threshold
    assert found.event_id == stretch[first].event_id
    assert found.at == stretch[first].at


def test_after_a_crossing_the_stream_restarts_and_the_rest_goes_on() -> None:
    stream = streams()[StreamName.SEMANTIC]
    stretch = episodes(60, seed=1, worst=0.02)
    played = stream.play(stream.fresh(), stretch, [1.0] * 60)
    state, crossings = played.state, played.crossings

    assert len(crossings) >= 2
    assert state.capital.episodes == 60 - max(crossings) - 1


def test_evidence_of_a_change_rises_while_it_goes_on_without_any_grant() -> None:
    stream = streams(log_threshold=1e9)[StreamName.SEMANTIC]
    stretch = [*episodes(200), *episodes(200, seed=1, worst=0.3), *episodes(400, seed=2)]
    rises = stream.play(stream.fresh(), stretch, [0.0] * 800).rises

    healthy, during, after = (
        [i for i in rises if start <= i < end] for start, end in ((0, 200), (200, 400), (400, 800))
    )
    assert not healthy
    assert max(np.diff([200, *sorted(during), 400])) < 60
    assert not [i for i in after if i > 420]


def test_a_state_saved_before_heights_were_kept_is_continued() -> None:
    stream = streams()[StreamName.SEMANTIC]
    state = stream.play(stream.fresh(), episodes(10), [1.0] * 10).state
    saved = json.loads(state.to_json())
    capital = json.loads(saved["capital"])
    del capital["log_peak"]

    older = stream.resume(json.dumps({**saved, "capital": json.dumps(capital)}))
    assert older == state


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 120), max_size=5))
def test_any_division_gives_the_same_states_and_crossings(cuts: list[int]) -> None:
    stretch = [*episodes(60), *episodes(40, seed=1, worst=0.02), *episodes(20, seed=2)]
    for stream in streams().values():
        played = stream.play(stream.fresh(), stretch, [1.0] * 120)
        whole, crossings = played.state, played.crossings
        state: StreamState = stream.fresh()
        found: dict[int, Crossing] = {}
        rises: set[int] = set()
        for start, end in itertools.pairwise([0, *sorted(cuts), 120]):
            part = stretch[start:end]
            there = stream.play(state, part, [1.0] * len(part))
            state = state_from_json(there.state.to_json())
            found.update({start + i: crossing for i, crossing in there.crossings.items()})
            rises.update(start + i for i in there.rises)
        assert rises == played.rises
        assert found.keys() == crossings.keys()
        assert state.capital.episodes == whole.capital.episodes
        assert state.capital.onset == whole.capital.onset
        assert state.marks == whole.marks
        assert [c.onset_event_id for c in found.values()] == [
            c.onset_event_id for c in crossings.values()
        ]
        np.testing.assert_allclose(state.capital.log_capital, whole.capital.log_capital)


def test_a_state_of_another_configuration_is_not_continued() -> None:
    stream = streams()[StreamName.DOMAIN]
    state = stream.play(stream.fresh(), episodes(10), [1.0] * 10).state

    assert stream.resume(state.to_json()) == state
    assert streams(terms="other")[StreamName.DOMAIN].resume(state.to_json()).capital.episodes == 0
    stricter = streams(log_threshold=9.0)[StreamName.DOMAIN]
    assert stricter.resume(state.to_json()).capital.episodes == 10


def test_a_state_from_a_newer_fieldwatch_is_refused() -> None:
    text = streams()[StreamName.DOMAIN].fresh().to_json().replace('"format": 3', '"format": 4')
    with pytest.raises(DocumentTooNew, match="Upgrade"):
        state_from_json(text)


def test_a_reference_too_small_opens_no_stream() -> None:
    assert watchlist(baseline(29), DetectorOptions()) == ()
    assert "needs at least 30" in str(unwatched(StreamName.DOMAIN, baseline(29)))


def test_the_evidence_ratio_is_one_at_the_threshold_and_zero_before_the_first_episode() -> None:
    stream = streams()[StreamName.SEMANTIC]
    assert stream.evidence_ratio(stream.fresh()) == 0.0
    assert evidence_ratio(8.0, 8.0) == 1.0
    assert evidence_ratio(-3.0, 8.0) == 0.0
