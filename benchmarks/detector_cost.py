"""What a stream costs, for `benchmarks.detectors`: to set up, per event, and in memory."""

import time
import tracemalloc
from dataclasses import dataclass

import numpy as np

from monitor.stats.streams import capital
from monitor.stats.streams.rank_bets import rank_bets

BATCH = 256
"""Events the service plays at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of the certified detector with its standard table."""

    setup_s: float
    """Seconds to build the bets of 10⁵ rows."""
    us_per_event: float
    """Microseconds of processor time to look up and play one event, in batches."""
    state_bytes: int
    """Characters of a stream's state as it is saved."""
    early_mib: float
    """Peak of allocated memory over the first tenth of the events."""
    late_mib: float
    """Peak over the last tenth."""


def measure(events: int, rng: np.random.Generator) -> Cost:
    """Play one stream of so many healthy events."""
    begun = time.perf_counter()
    rank_bets(100_000)
    setup = time.perf_counter() - begun
    bets = rank_bets(2_000)
    state, spent, peaks = capital.fresh(bets), 0.0, list[float]()
    tenth = events // 10
    for part in range(10):
        seen = rng.integers(0, 2_001, tenth)
        traced = part in (0, 9)
        if traced:
            tracemalloc.start()
        begun = time.process_time()
        for start in range(0, tenth, BATCH):
            log_e = bets.log_e(seen[start : start + BATCH])
            state = capital.update(state, log_e, 1.0, np.inf).state
        if traced:
            # Tracing slows it down, so these parts are not timed.
            peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
            tracemalloc.stop()
        else:
            spent += time.process_time() - begun
    return Cost(
        setup_s=setup,
        us_per_event=spent / (8 * tenth) * 1e6,
        state_bytes=len(state.to_json()),
        early_mib=peaks[0],
        late_mib=peaks[1],
    )
