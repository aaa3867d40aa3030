"""Bets on first frames and on means of frames: one promise, and what each is good for."""

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom, norm

from monitor.stats.streams import capital
from monitor.stats.streams.first_and_mean import ALONE, both, first_frames, fitting, split
from monitor.stats.streams.rank_bets import rank_bets

N = 2_000
EXACT = rank_bets(N, kappa=0.0)
"""Without slack, and with ranks drawn uniformly: every bet pays exactly 1 in the mean, so that the
promise is as tight as it can be."""
PAYS = np.exp(EXACT.table)[EXACT.rows]
Floats = npt.NDArray[np.float64]
Ranks = npt.NDArray[np.int64]


@dataclass
class Watched:
    """Many streams side by side: what `Stream` does with one, without logarithms."""

    count: int
    c: float
    lag: int
    """Episodes that begin before one is settled."""

    def __post_init__(self) -> None:
        shape = (self.count, PAYS.shape[1])
        self.ahead, self.first, self.mean = (np.zeros(shape) for _ in range(3))
        self.open: deque[Ranks] = deque()
        self.used = np.full(self.count, -1)
        self.begun = 0

    def begin(self, ranks: Ranks) -> npt.NDArray[np.bool_]:
        """Begin an episode of each stream, [stream, frame]; settle one; tell which alarm."""
        self.ahead = (self.ahead + 1) * PAYS[ranks[:, 0]]
        self.open.append(ranks)
        alarms: npt.NDArray[np.bool_] = self.ahead.mean(axis=1) >= 2 * self.c
        for capital_ in (self.ahead, self.first, self.mean):
            capital_[alarms] = 0
        self.used[alarms] = self.begun
        self.begun += 1
        if len(self.open) > self.lag:
            alarms |= self._settle(self.begun - len(self.open), self.open.popleft())
        return alarms

    def _settle(self, number: int, ranks: Ranks) -> npt.NDArray[np.bool_]:
        live = self.used < number
        first = (self.first + 1) * PAYS[ranks[:, 0]]
        mean = (self.mean + 1) * PAYS[ranks].mean(axis=1)
        self.first = np.where(live[:, None], first, 0)
        self.mean = np.where(live[:, None], mean, 0)
        evidence = (self.first.mean(axis=1) + self.mean.mean(axis=1)) / 2
        over: npt.NDArray[np.bool_] = evidence >= self.c
        self.first[over] = self.mean[over] = 0
        if over.any():
            again = np.zeros_like(self.ahead[over])
            for later in self.open:
                again = (again + 1) * PAYS[later[over, 0]]
            self.ahead[over] = again
        return over


def bursts(
    count: int, frames: int, rho: float, rng: np.random.Generator, shift: float = 0.0
) -> Ranks:
    """Draw ranks of bursts of equally correlated frames, [stream, frame]; uniform ones."""
    common, own = rng.normal(size=(count, 1)), rng.normal(size=(count, frames))
    scores = np.sqrt(rho) * common + np.sqrt(1 - rho) * own + shift
    ranks: Ranks = np.minimum((norm.sf(scores) * (N + 1)).astype(np.int64), N)
    return ranks


def delays(watched: Watched, frames: int, rho: float, shift: float) -> Floats:
    """Count the episodes until each stream alarms after a change, 150 healthy ones before it."""
    rng = np.random.default_rng(11)
    for _ in range(150):
        watched.begin(bursts(watched.count, frames, rho, rng))
    found = np.zeros(watched.count)
    for episode in range(1, 600):
        over = watched.begin(bursts(watched.count, frames, rho, rng, shift))
        found[over & (found == 0)] = episode
        if (found > 0).all():
            break
    return np.where(found == 0, np.inf, found)


@pytest.mark.statistics
@pytest.mark.parametrize("lag", [0, 12])
@pytest.mark.parametrize("rho", [0.0, 0.2, 0.5, 1.0])
def test_the_mean_number_of_episodes_to_a_false_alarm_is_kept(rho: float, lag: int) -> None:
    c, count, horizon, rng = 100.0, 400, 500, np.random.default_rng(7)
    watched, alarms = Watched(count, c, lag), 0
    for _ in range(horizon):
        alarms += int(watched.begin(bursts(count, 8, rho, rng)).sum())

    # At most one in c episodes, in the long run: every restart begins anew.
    assert alarms <= binom.ppf(0.999, count * horizon, 1 / c)
    assert alarms > 0


@pytest.mark.statistics
def test_taking_frames_for_episodes_does_not_keep_it() -> None:
    c, count, horizon, rng = 100.0, 400, 100, np.random.default_rng(8)
    frames, alarms = Watched(count, c, 0), 0
    for _ in range(horizon):
        for frame in bursts(count, 8, 0.5, rng).T:
            alarms += int(frames.begin(frame[:, None]).sum())

    assert alarms > binom.ppf(0.999, count * horizon * 8, 1 / c)


@pytest.mark.statistics
@pytest.mark.parametrize(("rho", "share"), [(0.0, 0.5), (0.2, 0.65), (0.5, 0.8), (1.0, 1.0)])
def test_bursts_are_found_sooner_than_by_first_frames(rho: float, share: float) -> None:
    first = np.median(delays(Watched(200, 1e4, 0), 1, 0.0, 0.5))

    assert np.median(delays(Watched(200, 1e4, 0), 8, rho, 0.5)) <= share * first + 3


@pytest.mark.statistics
@pytest.mark.parametrize(("shift", "later"), [(0.5, 12), (1.0, 4), (2.0, 2)])
def test_many_open_episodes_hold_an_alarm_up_by_little(shift: float, later: int) -> None:
    one = np.median(delays(Watched(300, 1e4, 0), 1, 0.0, shift))
    # Sixty cameras of which each sees an episode within the time an episode is given.
    waiting = np.median(delays(Watched(300, 1e4, 60), 1, 0.0, shift))

    assert one <= waiting <= one + later


def test_frames_that_come_alone_pay_the_same_twice() -> None:
    paid = EXACT.log_e(np.random.default_rng(1).integers(0, N + 1, 60))
    bets, doubled = len(EXACT.labels), both(paid, np.arange(60))
    assert (fitting(paid, 2 * bets) == doubled).all()
    assert (fitting(doubled, bets) == paid).all()

    plain = capital.update(capital.fresh(EXACT), paid, 1.0, 50.0).state
    twofold = capital.update(split(capital.fresh(EXACT)), doubled, 1.0, 50.0).state

    assert first_frames(twofold, bets).log_capital == plain.log_capital
    assert capital.log_evidence(twofold) == pytest.approx(capital.log_evidence(plain))
    assert first_frames(plain, bets) == plain
    assert pytest.approx(np.log(2)) == ALONE


def test_an_episode_pays_its_first_frame_and_the_mean_of_all() -> None:
    paid = EXACT.log_e([3, 900, 1_500, 40])
    found = both(paid, np.array([0, 1]))
    bets = len(EXACT.labels)

    assert (found[:, :bets] == paid[:2]).all()
    assert (found[0, bets:] == paid[0]).all()
    assert np.exp(found[1, bets:]) == pytest.approx(np.exp(paid[1:]).mean(axis=0))
