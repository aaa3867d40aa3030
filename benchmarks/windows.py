"""What window tests cost, whether their p-values are what they say, and what they can see.

Peers in the same run: Alibi Detect's MMDDrift (100 permutations), Evidently's DataDriftPreset, and
exact MMD with a permutation null on the same kernel (`benchmarks.exact_mmd`).

All data are drawn. The features and the shrinking of the null were chosen on isotropic embeddings,
of 64 and of 512 dimensions, and on ten clusters in 64. The changes are of a size that exact MMD
sees about every other time. Held back: the nulls of heavy tails, ten clusters in 512 dimensions.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.exact_mmd import exact_mmd
from benchmarks.peers import NOT_INSTALLED, run_peer
from benchmarks.report import Bar, Row, at_least, at_most, finish
from benchmarks.window_laws import LAWS, Plan, built, embedding_nulls, rates
from monitor.stats.windows.binned import compare_bins
from monitor.stats.windows.class_counts import compare_counts
from monitor.stats.windows.compare_window import compare_window
from monitor.stats.windows.mmd import compare_embeddings
from reference_data import window_reference
from reference_data.episode_sums import Frames, count_bins, sum_episodes
from reference_data.held_out import HeldOut
from reference_data.summary import Summary, merge_all, summarise
from reference_data.window_reference import WindowReference, bin_edges

FULL = "about 15 minutes on two idle cores, half of it the peers"
REPEATS = 15
CLASSES = tuple(f"class {place}" for place in range(10))
COLUMNS = (
    *(
        "part",
        "what",
        "n",
        "window",
        "references",
        "runs",
        "seconds",
        "processor s",
        "peer",
        "peer's seconds",
        "p ≤ .05",
        "p ≤ .01",
    ),
    *("p ≤ .05, 95 %", "p ≤ .01, 95 %", "p ≤ .05, given one reference (5–95 %)"),
    *("power", "peer's power", "difference, 95 %"),
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
    merged: tuple[int, ...]


Part = Callable[[Size], Iterator[Row | Bar]]

QUICK = Size(
    embeddings=1_000,
    peer_embeddings=300,
    rows=2_000,
    columns=16,
    nulls=Plan(population=3_000, dimension=32, maps=1, references=60, windows=1, draws=10_000),
    fixed=Plan(population=2_000, dimension=32, maps=1, references=4, windows=40, draws=10_000),
    windows=(50, 500),
    trials=1,
    merged=(24,),
)
COMPLETE = Size(
    embeddings=5_000,
    peer_embeddings=5_000,
    rows=10_000,
    columns=128,
    nulls=Plan(population=5_000, dimension=64, maps=8, references=63, windows=1, draws=10_000),
    fixed=Plan(population=4_000, dimension=64, maps=2, references=10, windows=60, draws=10_000),
    windows=(50, 500, 2_000, 10_000),
    trials=25,
    merged=(288, 2_016),
)


def main() -> None:
    """Run, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, under a minute")
    parser.add_argument(
        "--only", choices=[_title(part) for part in PARTS], help="one part of it, not all"
    )
    parser.add_argument("--json", type=Path, help="where to write rows, machine and bars")
    options = parser.parse_args()
    print("About a minute." if options.quick else f"This takes {FULL}.", flush=True)
    size = QUICK if options.quick else COMPLETE
    rows: list[Row] = []
    bars: list[Bar] = []
    for part in PARTS:
        if options.only not in (None, _title(part)):
            continue
        begun = time.perf_counter()
        for found in part(size):
            if isinstance(found, Bar):
                bars.append(found)
            else:
                rows.append({"part": _title(part), **found})
        print(f"{_title(part)}: {time.perf_counter() - begun:.0f} s", flush=True)
    finish(
        "windows against references",
        [{column: row.get(column) for column in COLUMNS} for row in rows],
        bars,
        options.json,
        by="part",
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
    # Column by column, as events are read.
    reference, window = rng.standard_normal((2, size.columns, size.rows)).transpose(0, 2, 1)
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
    for level, wide in ((0.05, 0.02), (0.01, 0.01)):
        yield from _null_bars(found, level, wide)
    yield from _discrete_nulls(1_000 if size is COMPLETE else 40)


def _null_bars(found: Sequence[Row], level: float, wide: float) -> Iterator[Bar]:
    """Compare rates with their level: by window size over all laws, then cell by cell.

    What is asked is of each cell's own rate. Of so many some are off by chance: beside it stands
    how far off the nearer end of a cell's interval is.
    """
    name = f"p ≤ {level:g}".replace("0.", ".")
    for size in dict.fromkeys(row["window"] for row in found):
        rates = [float(row[name] or 0) for row in found if row["window"] == size]
        off = abs(statistics.mean(rates) - level)
        yield at_most(f"rate of {name}, off by, windows of {size}, all laws", off, wide)
    cells = max(abs(float(row[name] or 0) - level) for row in found)
    yield at_most(f"rate of {name}, off by, worst of {len(found)} nulls", cells, wide)
    ends = [str(row[f"{name}, 95 %"]).split(" – ") for row in found]
    worst = max(max(float(low) - level, level - float(high), 0.0) for low, high in ends)
    yield at_most(f"rate of {name}, off by, worst of {len(ends)} nulls, at the least", worst, wide)


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
    return {
        "what": what,
        "n": 5_000,
        "window": window,
        "references": len(p),
        "runs": len(p),
        **rates(p, independent=len(p)),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Changes of one law that exact MMD sees about every other time."""

    law: str
    dimension: int
    shift: float
    """Length."""
    scale: float
    mixture: float
    """Shift of every twentieth row."""

    def changes(self, rng: np.random.Generator) -> dict[str, Callable[[Floats], Floats]]:
        """Make each of them."""
        root = np.sqrt(self.dimension)
        return {
            "mean shift": lambda rows: rows + self.shift / root,
            "scale": lambda rows: rows * (1 + self.scale),
            "mixture, 5 %": lambda rows: np.where(
                rng.random((len(rows), 1)) < 0.05, rows + self.mixture / root, rows
            ),
        }


SEEN = (
    Seen(law="isotropic", dimension=64, shift=0.28, scale=0.05, mixture=6),
    Seen(law="ten clusters", dimension=64, shift=1.0, scale=0.08, mixture=20),
    Seen(law="isotropic", dimension=512, shift=0.47, scale=0.03, mixture=10),
    Seen(law="ten clusters", dimension=512, shift=1.5, scale=0.06, mixture=30),
)


def _power(size: Size) -> Iterator[Row | Bar]:
    """Compare the power at n = 500 with exact MMD's, both on the same draws and not thinned."""
    n = 500
    together: list[int] = []
    highs = []
    for each in SEEN:
        rng = np.random.default_rng([4, each.dimension, len(each.law)])
        law = LAWS[each.law]
        for change, make in each.changes(rng).items():
            found = []
            for trial in range(size.trials):
                rows, window = law(rng, n, each.dimension), make(law(rng, n, each.dimension))
                found.append(_both_see(rows, window, trial, rng))
            ours, exact = np.array(found).T
            differences = ours.astype(np.intp) - exact
            together += differences.tolist()
            low, high = _interval(differences)
            highs.append(high)
            yield {
                "what": f"{change}, {each.law}, {each.dimension} dimensions",
                "n": n,
                "window": n,
                "runs": size.trials,
                "peer": "exact MMD, 199 permutations",
                "power": float(ours.mean()),
                "peer's power": float(exact.mean()),
                "difference, 95 %": f"{low:+.2f} – {high:+.2f}",
            }
    name = "power less exact MMD's at n = 500"
    yield at_least(f"{name}, mean of {len(highs)} changes", statistics.mean(together), 0.0)
    yield at_least(f"{name}, worst change, upper end of its 95 %", min(highs), 0.0)


def _both_see(
    rows: Floats, window: Floats, seed: int, rng: np.random.Generator
) -> tuple[bool, bool]:
    reference = built(rows, seed, 10_000)
    features = reference.layout.features
    phi = features.phi(window.astype(np.float16)).sum(axis=0)
    sums = np.concatenate([[len(window)], phi])[None, :]
    p = compare_embeddings(sums, reference, thin=False).p_value
    return p is not None and p <= 0.05, exact_mmd(rows, window, features.bandwidth, rng) <= 0.05


def _interval(differences: npt.NDArray[np.intp]) -> tuple[float, float]:
    """Give the 95 % interval of a mean of paired differences, of -1, 0 and 1."""
    count = len(differences)
    # Half a pair more on either side: without any that differ, the interval has a width too.
    variance = (float((differences**2).sum()) + 1) / count - float(differences.mean()) ** 2
    half = 1.96 * float(np.sqrt(variance / count))
    return float(differences.mean()) - half, float(differences.mean()) + half


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


def _title(part: Part) -> str:
    return part.__name__.strip("_").replace("_", " ")


PARTS: tuple[Part, ...] = (_cost_of_embeddings, _cost_of_columns, _nulls, _power)


if __name__ == "__main__":
    main()
