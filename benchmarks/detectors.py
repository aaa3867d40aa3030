"""Do the stream detectors keep their promise, and how fast are they?

Null streams: independent events, batches, ties, bursts on either side, five streams under one
budget; for each fresh reference the mean time between false alarms is measured and compared with
the c it was promised. Delays: certified, c = 10⁴, beside the floor log(c)/KL. Peers at equal
*measured* run length. A real case. Cost.

Normal scores are what the recipe was made with; held back from it: the population of digits
(`benchmarks.population`) and the PACS pictures. The peers' windows were chosen before their delays
were seen; their thresholds are set on healthy streams to give the run length asked for.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.detector_cost import measure
from benchmarks.detector_delays import (
    CHANGES,
    HEALTHY,
    HORIZON,
    Delays,
    Peer,
    PeerSize,
    alibi,
    floor,
    measured_length,
    our_delays,
    population_delays,
    river,
    threshold_for,
)
from benchmarks.detector_nulls import (
    CERTIFIED,
    CONTRASTS,
    RunLengths,
    Size,
    five_streams,
    population_run_lengths,
    run_lengths,
)
from benchmarks.detector_sketches import photos_to_sketches
from benchmarks.peers import NOT_INSTALLED, installed
from benchmarks.population import Conditions, Direction, fit_population
from benchmarks.report import Bar, Cell, Row, at_least, at_most, finish

C = 1e4
ROWS = 2_000
say = Console(stderr=True).print


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much of everything."""

    ns: tuple[int, ...]
    cs: tuple[float, ...]
    null: Size
    bursts: Size
    """Streams of bursts cost ten times as much."""
    population: Size
    union: Size
    runs: int
    population_runs: int
    target: float
    """Run length at which peers are compared."""
    peers: PeerSize
    sketch_runs: int
    photos: int
    events: int


FULL = Scale(
    ns=(200, 500, 2_000, 10_000),
    cs=(1e3, 1e4),
    null=Size(references=100, exposure=10),
    bursts=Size(references=60, exposure=3),
    population=Size(references=50, exposure=3),
    union=Size(references=40, exposure=0),
    runs=2_000,
    population_runs=100,
    target=1e4,
    peers=PeerSize(
        references=3,
        events=200_000,
        runs=300,
        river_events=150_000,
        river_runs=40,
        river_steps=5,
    ),
    sketch_runs=20,
    photos=1_670,
    events=1_000_000,
)
QUICK = Scale(
    ns=(500, 2_000),
    cs=(1e3,),
    null=Size(references=50, exposure=3),
    bursts=Size(references=50, exposure=1.5),
    population=Size(references=20, exposure=1.5),
    union=Size(references=6, exposure=0),
    runs=1_500,
    population_runs=12,
    target=1e3,
    peers=PeerSize(
        references=1,
        events=20_000,
        runs=20,
        windows=(10,),
        river_events=5_000,
        river_runs=5,
        river_steps=3,
    ),
    sketch_runs=1,
    photos=150,
    events=100_000,
)


def main() -> None:
    """Measure, and print rows and bars."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer references, events and runs")
    parser.add_argument("--json", type=Path, help="where to write the result")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    scale = QUICK if options.quick else FULL
    say("This takes a minute." if options.quick else "This takes about twenty minutes.")
    rows: list[Row] = []
    bars: list[Bar] = []
    parts = np.random.default_rng(options.seed).spawn(6)
    for title, part, rng in zip(
        ("null streams", "five streams", "delays", "peers", "photos to sketches", "cost"),
        (_nulls, _union, _delays, _peers, _sketches, _cost),
        parts,
        strict=True,
    ):
        say(f"… {title}")
        for row, bar in part(scale, rng):
            rows += [row] if row else []
            bars += [bar] if bar else []
    finish("Stream detectors: run length given the reference, and delay", rows, bars, options.json)


Found = Iterator[tuple[Row | None, Bar | None]]


def _row(part: str, detector: str, setting: str, **cells: Cell) -> Row:
    """Fill one row of the table; what was not measured stays empty."""
    columns = ("n", "c", "run length", "short", "no alarm", "median", "90 %", "missed", "note")
    return {
        "part": part,
        "detector": detector,
        "setting": setting,
        **{column: cells.get(column) for column in columns},
    }


def _nulls(scale: Scale, rng: np.random.Generator) -> Found:
    """Measure run lengths of every null; a bar is its worst reference size."""
    population = fit_population()
    for c in scale.cs:
        for null in (*CERTIFIED, *CONTRASTS):
            worst = 1.0
            for n in scale.ns:
                size = scale.null if null.stream_correlation is None else scale.bursts
                found = run_lengths(null, n, c, size, rng)
                worst = min(worst, 1 - found.short(c))
                yield _null_row(null.title, n, c, found), None
            if null in CERTIFIED:
                name = f"{null.title}, c = {c:g}: references that keep it, worst n"
                yield None, at_least(name, worst, 0.95)
    c = scale.cs[0]
    for bursts in (False, True):
        worst = 1.0
        for n in [n for n in scale.ns if 500 <= n <= 2_000]:
            title = f"digits, {'bursts on both sides' if bursts else 'independent'}"
            found = population_run_lengths(population, bursts, n, c, scale.population, rng)
            worst = min(worst, 1 - found.short(c))
            yield _null_row(title, n, c, found), None
        yield None, at_least(f"{title}, c = {c:g}: references that keep it", worst, 0.95)


def _null_row(title: str, n: int, c: float, found: RunLengths) -> Row:
    """Describe run lengths; without an alarm they are at least what was watched."""
    count = len(found.alarms)
    note = f"{count} references × {found.exposure:,} events"
    if found.unwatched:
        note += f"; {found.unwatched} too small, not watched"
    return _row(
        "null",
        "ours",
        title,
        n=n,
        c=c,
        short=found.short(c) if count else None,
        note=note,
        **{
            "run length": found.pooled if count else None,
            "no alarm": found.censored if count else None,
        },
    )


def _union(scale: Scale, rng: np.random.Generator) -> Found:
    """Watch five streams under one budget, and each with its own beside it."""
    c = 1e3
    for n in [n for n in scale.ns if n >= 2_000]:
        for one_budget in (True, False):
            union = five_streams(n, c, scale.union, rng, one_budget=one_budget)
            title = "five streams, " + ("one budget" if one_budget else "each its own c")
            short = float((union.means < c).mean())
            row = _row(
                "null",
                "ours",
                title,
                n=n,
                c=c,
                short=short,
                note=f"time to the first alarm, cut at {union.horizon:,}: a lower bound",
                **{"run length": float(union.means.mean())},
            )
            bar = at_least(f"{title}, n = {n:,}: installations that keep c", 1 - short, 0.95)
            yield row, bar if one_budget else None


def _delays(scale: Scale, rng: np.random.Generator) -> Found:
    """Measure delays after healthy events and cold, beside the floor."""
    for healthy in (HEALTHY, 0):
        when = f"after {healthy:,} healthy" if healthy else "cold"
        for change in CHANGES:
            found = our_delays(change, ROWS, C, scale.runs, rng, healthy=healthy)
            row = _delay_row("delay", "ours", f"{change.title}, {when}", ROWS, C, found)
            bar = change.warm_bar if healthy else change.cold_bar
            name = f"{change.title}, {when}: median events"
            yield row, None if bar is None else at_most(name, found.median, bar)
    for change in CHANGES:
        cell = floor(C, change)
        yield _row("delay", "floor log(c)/KL", change.title, c=C, median=cell), None
    population = fit_population()
    directions: tuple[Direction, ...] = (0, "brightness")
    for direction in directions:
        for change in CHANGES:
            conditions = Conditions(
                shift=change.shift, contamination=change.share, direction=direction
            )
            found = population_delays(population, conditions, ROWS, C, scale.population_runs, rng)
            where = "brightness" if direction == "brightness" else f"component {direction}"
            title = f"digits, {where}, {change.title}"
            yield _delay_row("delay", "ours", title, ROWS, C, found), None


def _delay_row(part: str, detector: str, title: str, n: int, c: float, found: Delays) -> Row:
    return _row(
        part,
        detector,
        title,
        n=n,
        c=c,
        median=found.median,
        missed=found.missed,
        note=f"{len(found.found)} runs of at most {HORIZON} events",
        **{"90 %": found.late},
    )


def _peers(scale: Scale, rng: np.random.Generator) -> Found:
    """Compare with peers at the same measured run length, which for ours is above its c."""
    c, length = threshold_for(ROWS, scale.target, rng)
    certified = measured_length(ROWS, C, 100, int(4 * C), rng)
    yield (
        _row("peer", "ours", f"certified, c = {C:g}", n=ROWS, c=C, **{"run length": certified}),
        None,
    )
    ours = {
        change.title: our_delays(change, ROWS, c, scale.runs, rng, healthy=HEALTHY)
        for change in CHANGES
    }
    for title, found in ours.items():
        row = _delay_row("peer", "ours at its measured run length", title, ROWS, c, found)
        yield {**row, "run length": length}, None
    if not installed():
        for name in ("Alibi MMD", "Alibi LSDD", "Alibi CVM", "River ADWIN", "River KSWIN"):
            yield _row("peer", name, NOT_INSTALLED), None
        return
    peers = [
        *alibi(ROWS, [scale.target], scale.peers, rng),
        *river(ROWS, [scale.target], scale.peers, rng),
    ]
    for peer in peers:
        for title, found in peer.delays.items():
            yield _peer_row(peer, title, found), None
    for change in CHANGES:
        best = min(peers, key=lambda peer: peer.delays[change.title].median)
        fastest = best.delays[change.title].median
        name = f"{change.title}: ours against the fastest peer ({best.detector}, {best.setting})"
        yield None, at_most(name, ours[change.title].median, fastest)


def _peer_row(peer: Peer, title: str, found: Delays) -> Row:
    note = f"{peer.alarms} alarms; {peer.us_per_event:.0f} µs an event"
    if peer.checked is not None:
        note += f"; own statistic within {peer.checked:.1g}"
    return _row(
        "peer",
        peer.detector,
        f"{title}, {peer.setting}",
        n=ROWS,
        median=found.median,
        missed=found.missed,
        note=note,
        **{"90 %": found.late, "run length": peer.run_length},
    )


def _sketches(scale: Scale, rng: np.random.Generator) -> Found:
    """Measure the real case, where its pictures are there."""
    found = photos_to_sketches(C, scale.sketch_runs, scale.photos, rng)
    if found is None:
        note = "PACS is not here: set FIELDWATCH_DATA to a folder that has it"
        yield _row("real", "ours", "PACS photo → sketch", note=note), None
        return
    delays = found.found if len(found.found) else np.array([np.inf])
    note = (
        f"{found.healthy} photos before; {found.false_alarms} of "
        f"{len(found.found) + found.false_alarms} runs alarmed on photos"
    )
    yield (
        _row(
            "real",
            "ours",
            "PACS photo → sketch",
            n=found.calibration,
            c=C,
            median=float(np.median(delays)),
            note=note,
            **{"90 %": float(np.quantile(delays, 0.9))},
        ),
        at_most("PACS photo → sketch: worst run's events", float(delays.max()), 20),
    )


def _cost(scale: Scale, rng: np.random.Generator) -> Found:
    """Measure what a stream costs."""
    cost = measure(scale.events, rng)
    note = (
        f"{cost.us_per_event:.2f} µs an event; set-up {cost.setup_s * 1e3:.0f} ms; "
        f"state {cost.state_bytes:,} B; peak {cost.early_mib:.2f} then {cost.late_mib:.2f} MiB"
    )
    yield _row("cost", "ours", f"{scale.events:,} events", n=ROWS, note=note), None
    yield None, at_most("set-up, seconds", cost.setup_s, 2)
    yield None, at_most("microseconds an event, batched", cost.us_per_event, 5)
    yield None, at_most("peak memory, last tenth over first", cost.late_mib / cost.early_mib, 1.1)


if __name__ == "__main__":
    main()
