"""Bursts through the real streams and passes: healthy ones keep the promise, changes are found."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from scipy.stats import binom, norm

from monitor.domain import StreamName
from monitor.services.streams.episodes import Episode, Frame
from monitor.services.streams.open_episodes import OpenEpisodes, Rule, gather, open_from_json
from monitor.services.streams.state import state_from_json
from monitor.services.streams.stream import Stream, Terms
from monitor.stats.streams.rank_bets import rank_bets
from reference_data.conformal import ranks
from tests.monitor.installation import START
from tests.monitor.test_streams import streams

N, C = 2_000, 60.0
RULE = Rule(gap_s=60.0, most_frames=8)
CAMERAS, FRAMES, PASSES = 8, 6, 30


def exact() -> Stream:
    """Give a stream whose bets pay exactly 1 in the mean: the promise at its tightest."""

    def observe(episodes: Sequence[Episode]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return ranks([episode.p_semantic for episode in episodes], N)

    return replace(
        streams()[StreamName.SEMANTIC],
        bets=rank_bets(N, kappa=0.0),
        terms=Terms(log_threshold=float(np.log(C)), text=""),
        observe=observe,
    )


def shots(number: int, rho: float, rng: np.random.Generator, shift: float) -> list[Frame]:
    """Draw a burst of every camera; they overlap, and are ten minutes after the one before."""
    common, own = rng.normal(size=(CAMERAS, 1)), rng.normal(size=(CAMERAS, FRAMES))
    p = norm.sf(np.sqrt(rho) * common + np.sqrt(1 - rho) * own + shift)
    return [
        Frame(
            seen=Episode(
                event_id=f"{number}-{camera}-{frame}",
                at=START + timedelta(seconds=600 * number + 3 * camera + 5 * frame),
                prediction="black",
                confidence=0.9,
                p_semantic=float(p[camera, frame]),
                p_domain=0.5,
                p_value=0.5,
            ),
            episode_id=f"{number}-{camera}-0",
            unit=f"cam-{camera}",
        )
        for frame in range(FRAMES)
        for camera in range(CAMERAS)
    ]


def crossings(rho: float, rng: np.random.Generator, shift: float = 0.0) -> int:
    """Count the alarms of one run, in passes that cut episodes in two."""
    stream, opened, found = exact(), OpenEpisodes(), 0
    state = stream.fresh()
    frames = [frame for number in range(PASSES) for frame in shots(number, rho, rng, shift)]
    for start in range(0, len(frames), 31):
        now = frames[min(start + 31, len(frames)) - 1].seen.at
        part = gather(opened, frames[start : start + 31], RULE, now, drained=True)
        opened = open_from_json(part.open.to_json())
        live = [each for each in part.settled if each.number > state.used]
        played = stream.play(state, live, [1.0] * len(live))
        ahead = [each.seen for each in opened.episodes if each.seen.number > played.state.used]
        looked = stream.look_ahead(played.state, ahead, [1.0] * len(ahead))
        state = state_from_json(looked.state.to_json())
        found += len(played.crossings) + len(looked.crossings)
    return found


@pytest.mark.statistics
@pytest.mark.parametrize("rho", [0.0, 0.2, 0.5, 1.0])
def test_healthy_bursts_alarm_no_more_often_than_once_in_so_many_episodes(rho: float) -> None:
    rng, runs = np.random.default_rng(23), 30

    alarms = sum(crossings(rho, rng) for _ in range(runs))

    assert 0 < alarms <= binom.ppf(0.999, runs * PASSES * CAMERAS, 1 / C)


def test_changed_bursts_are_found_in_the_same_passes() -> None:
    assert crossings(0.5, np.random.default_rng(24), shift=2.0) > 10
