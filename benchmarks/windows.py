"""What window tests cost, whether their p-values are what they say, and what they can see.

Peers in the same run: Alibi Detect's MMDDrift (100 permutations), Evidently's DataDriftPreset, and
exact MMD with a permutation null on the same kernel (`benchmarks.exact_mmd`).

All data are drawn. The number of features, their orthogonal blocks and the shrinking of the null
were chosen on isotropic embeddings, of 64 and of 512 dimensions. The changes of the clusters were
doubled after a first look, in which neither test saw them. Only the other nulls were held back.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.exact_mmd import exact_mmd
from benchmarks.peers import NOT_INSTALLED, run_peer
from benchmarks.report import Bar, Row, at_least, at_most, finish
from benchmarks.window_laws import LAWS, Plan, built, embedding_nulls
from monitor.stats.windows.binned import compare_bins
from monitor.stats.windows.class_counts import compare_counts
from monitor.stats.windows.compare_window import compare_window
from monitor.stats.windows.mmd import compare_embeddings
from reference_data import window_reference
from reference_data.episode_sums import Frames, count_bins, sum_episodes
from reference_data.held_out import HeldOut
from reference_data.summary import Summary, merge_all, summarise
from reference_data.window_reference import WindowReference, bin_edges

FULL = "perhaps 15 minutes on two idle cores, half of it the peers; not measured yet"
REPEATS = 15
CLASSES = tuple(f"class {place}" for place in range(10))
COLUMNS = (
    *(
        "what",
        "n",
        "window",
        "runs",
        "seconds",
        "processor s",
        "peer",
        "peer's seconds",
        "p ≤ .05",
        "p ≤ .01",
    ),
    *("p ≤ .05, given one reference (5–95 %)", "power", "peer's power"),
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a run is."""

    embeddings: int
    peer_embeddings: int
    rows: int
    columns: int
    nulls: Plan
    fixed: Plan
    """For what one reference does to all its windows."""
    windows: tuple[int, ...]
    trials: int
    small_trials: int
    merged: tuple[int, ...]


QUICK = Size(
    embeddings=1_000,
    peer_embeddings=300,
    rows=2_000,
    columns=16,
    nulls=Plan(population=3_000, dimension=32, maps=1, references=6, windows=10, draws=10_000),
    fixed=Plan(population=2_000, dimension=32, maps=1, references=3, windows=40, draws=10_000),
    windows=(50, 500),
    trials=4,
    small_trials=1,
    merged=(24,),
)
COMPLETE = Size(
    embeddings=5_000,
    peer_embeddings=5_000,
    rows=10_000,
    columns=128,
    nulls=Plan(population=8_000, dimension=64, maps=5, references=40, windows=5, draws=50_000),
    fixed=Plan(population=4_000, dimension=64, maps=1, references=20, windows=200, draws=50_000),
    windows=(50, 500, 2_000, 10_000),
    trials=50,
    small_trials=25,
    merged=(288, 2_016),
)


def main() -> None:
    """Run, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, under a minute")
    parser.add_argument("--json", type=Path, help="where to write rows, machine and bars")
    options = parser.parse_args()
    print("About a minute." if options.quick else f"This takes {FULL}.", flush=True)
    size = QUICK if options.quick else COMPLETE
    rows: list[Row] = []
    bars: list[Bar] = []
    for part in (_cost_of_embeddings, _cost_of_columns, _nulls, _power):
        begun = time.perf_counter()
        for found in part(size):
            (bars if isinstance(found, Bar) else rows).append(found)  # type: ignore[arg-type]
        print(f"{part.__name__.strip('_')}: {time.perf_counter() - begun:.0f} s", flush=True)
    finish(
        "windows against references",
        [{column: row.get(column) for column in COLUMNS} for row in rows],
        bars,
        options.json,
    )


def _cost_of_embeddings(size: Size) -> Iterator[Row | Bar]:
    n, d = size.embeddings, 512
    rng = np.random.default_rng(1)
    reference_rows, window_rows = rng.standard_normal((2, n, d)).astype(np.float16)
    begun = time.perf_counter()
    reference = _reference(reference_rows, rng)
    yield {"what": "reference built at import", "n": n, "seconds": time.perf_counter() - begun}
    frames = _frames(window_rows, rng)
    begun = time.perf_counter()
    sums = sum_episodes(frames, reference.layout)
    yield {"what": "a window summed", "window": n, "seconds": time.perf_counter() - begun}
    seconds, processor = _timed(lambda: compare_embeddings(sums.arrays["phi"], reference))
    peer = run_peer(
        "alibi_mmd",
        {
            "reference": reference_rows[: size.peer_embeddings].astype(np.float32),
            "window": window_rows[: size.peer_embeddings].astype(np.float32),
        },
        {"permutations": 100},
    )
    yield {
        "what": f"test of {d}-dimensional embeddings, from sums",
        "n": n,
        "window": n,
        "seconds": seconds,
        "processor s": processor,
        "peer": f"Alibi MMDDrift, {size.peer_embeddings} × {size.peer_embeddings}"
        if peer
        else f"Alibi {NOT_INSTALLED}",
        "peer's seconds": peer["set_up_s"] + peer["seconds"] if peer else None,
    }
    yield at_most(f"embedding test {n} × {n} × {d} after summaries, s", seconds, 0.05)
    yield from _merged(size, reference, frames, sums.predictions)


def _merged(
    size: Size, reference: WindowReference, frames: Frames, predictions: int
) -> Iterator[Row]:
    """Merge a day's and a week's windows from their bytes, and test them in every respect."""
    sums = sum_episodes(frames, reference.layout)
    summary = summarise(
        predictions=frames.predictions,
        confidences=frames.columns["confidence"],
        p_semantic=frames.columns["p_semantic"],
        p_domain=frames.columns["p_domain"],
        sums=sums,
    ).to_bytes()
    seconds, processor = _timed(lambda: compare_window(sums, reference, fewest=30))
    yield {
        "what": f"all tests of one window ({len(summary) / 1000:.1f} kB)",
        "window": predictions,
        "seconds": seconds,
        "processor s": processor,
    }
    for count in size.merged:

        def merged(count: int = count) -> None:
            whole = merge_all(Summary.from_bytes(summary) for _ in range(count))
            compare_window(whole.sums[reference.layout.reference], reference, fewest=30)

        seconds, processor = _timed(merged, 3)
        yield {
            "what": f"{count} windows read, merged and tested",
            "window": predictions * count,
            "seconds": seconds,
            "processor s": processor,
        }


def _cost_of_columns(size: Size) -> Iterator[Row | Bar]:
    rng = np.random.default_rng(2)
    reference, window = rng.standard_normal((2, size.rows, size.columns))
    edges = [bin_edges(column) for column in reference.T]
    counts = [count_bins(column, each) for column, each in zip(reference.T, edges, strict=True)]

    def test() -> None:
        for column, each, count in zip(window.T, edges, counts, strict=True):
            compare_bins(count_bins(column, each), count, each, 1.0, rng, fewest=30)

    seconds, processor = _timed(test, 5)
    peer = None
    if size is COMPLETE:
        peer = run_peer("evidently_preset", {"reference": reference, "window": window})
    yield {
        "what": f"{size.columns} columns, binned and tested",
        "n": size.rows,
        "window": size.rows,
        "seconds": seconds,
        "processor s": processor,
        "peer": "Evidently DataDriftPreset"
        if peer
        else f"Evidently {NOT_INSTALLED}"
        if size is COMPLETE
        else None,
        "peer's seconds": peer["seconds"] if peer else None,
    }
    yield at_most(f"{size.rows} × {size.columns} columns, s", seconds, 1.0)


def _nulls(size: Size) -> Iterator[Row | Bar]:
    found: list[Row] = []
    for name in LAWS:
        for n in (500, 5_000) if size is COMPLETE else (500,):
            for row in embedding_nulls(name, n, size.windows, size.nulls, thin=False):
                found.append(row)
                yield row
    for thin in (False, True):
        yield from embedding_nulls("isotropic", 2_000, (2_000,), size.fixed, thin=thin)
    for level, wide in ((".05", 0.02), (".01", 0.01)):
        rates = [float(row[f"p ≤ {level}"] or 0) for row in found]
        worst = max(rates, key=lambda rate: abs(rate - float(level)))
        yield at_most(
            f"|rate of p ≤ {level} - {level}|, worst of {len(rates)} nulls",
            abs(worst - float(level)),
            wide,
        )
        mean = statistics.mean(rates)
        yield at_most(
            f"|rate of p ≤ {level} - {level}|, all nulls together", abs(mean - float(level)), wide
        )
    yield from _discrete_nulls(400 if size is COMPLETE else 40)


def _discrete_nulls(runs: int) -> Iterator[Row]:
    rng = np.random.default_rng(3)
    shares = {
        "2 classes": np.full(2, 0.5),
        "20 classes, rare ones": rng.dirichlet(np.full(20, 0.4)),
    }
    for window in (50, 500):
        for name, each in shares.items():
            p = [
                compare_counts(
                    rng.multinomial(window, each),
                    rng.multinomial(5_000, each),
                    rng,
                    fewest=30,
                    thin=False,
                ).p_value
                for _ in range(runs)
            ]
            yield _null_row(f"null, {name}", window, p)
        numbers = []
        for _ in range(runs):
            reference = rng.standard_t(2, 5_000)
            edges = bin_edges(reference)
            counts = count_bins(rng.standard_t(2, window), edges), count_bins(reference, edges)
            tested = compare_bins(*counts, edges, 1.0, rng, fewest=30, thin=False)
            numbers.append(tested.p_value)
        yield _null_row("null, a number with heavy tails", window, numbers)


def _null_row(what: str, window: int, p_values: list[float | None]) -> Row:
    p = np.array(p_values, dtype=np.float64)
    small, smaller = float((p <= 0.05).mean()), float((p <= 0.01).mean())
    return {
        "what": what,
        "n": 5_000,
        "window": window,
        "runs": len(p),
        "p ≤ .05": small,
        "p ≤ .01": smaller,
    }


def _changes(
    d: int, strength: float, rng: np.random.Generator
) -> dict[str, Callable[[Floats], Floats]]:
    """Make changes that, at strength 1, exact MMD sees about every other time in 64 dimensions."""
    return {
        "mean shift": lambda rows: rows + strength * 0.28 / np.sqrt(d),
        "scale": lambda rows: rows * (1 + strength * 0.05),
        "mixture, 5 %": lambda rows: np.where(
            rng.random((len(rows), 1)) < 0.05, rows + strength * 6 / np.sqrt(d), rows
        ),
    }


def _power(size: Size) -> Iterator[Row | Bar]:
    """Compare the power at n = 500 with exact MMD's, both on the same draws and not thinned."""
    n = 500
    differences = []
    for name, d, strength, trials in (
        ("isotropic", 64, 1.0, size.trials),
        ("ten clusters", 64, 2.0, size.trials),
        ("isotropic", 512, 1.0, size.small_trials),
    ):
        rng = np.random.default_rng([4, d, len(name)])
        for change, make in _changes(d, strength, rng).items():
            ours, exact = 0, 0
            for trial in range(trials):
                rows, window = LAWS[name](rng, n, d), make(LAWS[name](rng, n, d))
                reference = built(rows, trial, 20_000)
                features = reference.layout.features
                phi = features.phi(window.astype(np.float16)).sum(axis=0)
                p = compare_embeddings(
                    np.concatenate([[n], phi])[None, :], reference, thin=False
                ).p_value
                ours += p is not None and p <= 0.05
                exact += exact_mmd(rows, window, features.bandwidth, rng) <= 0.05
            yield {
                "what": f"{change}, {name}, {d} dimensions",
                "n": n,
                "window": n,
                "runs": trials,
                "peer": "exact MMD, 199 permutations",
                "power": ours / trials,
                "peer's power": exact / trials,
            }
            differences.append((ours - exact) / trials)
    yield at_least("power over exact MMD's at n = 500, mean", statistics.mean(differences), 0.0)
    yield at_least("power over exact MMD's at n = 500, worst", min(differences), 0.0)


def _reference(rows: npt.NDArray[np.float16], rng: np.random.Generator) -> WindowReference:
    n = len(rows)
    held = HeldOut(
        rows=np.arange(n),
        role=np.full(n, "calibrate"),
        labels=np.zeros(n, dtype=np.intp),
        logits=rng.standard_normal((n, len(CLASSES))).astype(np.float32),
        embedding=rows,
        semantic=rng.standard_normal(n),
        domain=rng.standard_normal(n),
        properties={f"property {place}": rng.standard_normal(n) for place in range(8)},
        segments={"site": rng.choice(["north", "south"], n)},
    )
    found = window_reference.build(held, CLASSES, seed=0)
    assert isinstance(found, WindowReference)
    return found


def _frames(rows: npt.NDArray[np.float16], rng: np.random.Generator) -> Frames:
    n = len(rows)
    ids = [str(place) for place in range(n)]
    columns = {name: rng.random(n) for name in ("confidence", "p_semantic", "p_domain")}
    columns |= {f"property.property {place}": rng.standard_normal(n) for place in range(8)}
    return Frames(
        event_ids=ids,
        episode_ids=ids,
        predictions=[str(name) for name in rng.choice(CLASSES, n)],
        embeddings=[row.astype("<f2").tobytes() for row in rows],
        columns=columns,
        segments=[{"site": "north"}] * n,
    )


def _timed(work: Callable[[], object], repeats: int = REPEATS) -> tuple[float, float]:
    """Give the median time of a piece of work, and of the processor's part in it."""
    work()
    found = []
    for _ in range(repeats):
        begun = time.perf_counter(), time.process_time()
        work()
        found.append((time.perf_counter() - begun[0], time.process_time() - begun[1]))
    seconds, processor = zip(*found, strict=True)
    return statistics.median(seconds), statistics.median(processor)


if __name__ == "__main__":
    main()
