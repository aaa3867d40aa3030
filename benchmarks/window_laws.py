"""Distributions of embeddings to test windows on, and null windows drawn from them by the thousand.

A law's population is a large sample of it. References and windows are independent draws, with
replacement, from that sample, so the null holds exactly, and φ is computed once per population:
sums over a window are then one product of counts and φ.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed
from scipy.stats import beta

from benchmarks.report import Row
from monitor.stats.windows.mmd import compare_embeddings
from reference_data.episode_sums import PARTS, EpisodeSums, Layout
from reference_data.feature_map import FRACTION_BITS, fit
from reference_data.window_reference import (
    DRAWS,
    WindowReference,
    draw_null,
    shrink_covariance,
    traces_of,
)

Floats = npt.NDArray[np.float64]
Law = Callable[[np.random.Generator, int, int], Floats]


def isotropic(rng: np.random.Generator, n: int, d: int) -> Floats:
    """Draw independent normal coordinates."""
    return rng.standard_normal((n, d))


def heavy_tails(rng: np.random.Generator, n: int, d: int) -> Floats:
    """Draw coordinates of Student's t with two degrees of freedom: no variance."""
    return rng.standard_t(2, (n, d))


def log_normal_norms(rng: np.random.Generator, n: int, d: int) -> Floats:
    """Draw rows whose lengths are log-normal."""
    return rng.standard_normal((n, d)) * rng.lognormal(size=(n, 1))


def clusters(rng: np.random.Generator, n: int, d: int) -> Floats:
    """Draw from ten normal clusters, fixed ones."""
    centres = np.random.default_rng(7).normal(0, 2, (10, d))
    return centres[rng.integers(0, 10, n)] + rng.standard_normal((n, d))


LAWS: dict[str, Law] = {
    "isotropic": isotropic,
    "t, 2 degrees of freedom": heavy_tails,
    "log-normal norms": log_normal_norms,
    "ten clusters": clusters,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much to simulate."""

    population: int
    dimension: int
    maps: int
    """Random feature maps, each with a population and references of its own."""
    references: int
    """For each map."""
    windows: int
    """For each reference and size."""
    draws: int = DRAWS


def embedding_nulls(
    name: str, n: int, sizes: Sequence[int], plan: Plan, *, thin: bool
) -> Iterator[Row]:
    """Simulate windows without any change, and give the rates of small p, one row a size."""
    begun = Parallel(n_jobs=2)(
        delayed(_map_nulls)(name, n, sizes, plan, number, thin=thin) for number in range(plan.maps)
    )
    found = {size: [row for each in begun for row in each[size]] for size in sizes}
    for size, listed in found.items():
        p = np.array(listed)
        given = (p <= 0.05).mean(axis=1)
        yield {
            "what": f"null, {name}" + (", thinned" if thin else ""),
            "n": n,
            "window": size,
            "references": len(p),
            "runs": p.size,
            **rates(p, independent=len(p)),
            "p ≤ .05, given one reference (5–95 %)": "{:.3f} – {:.3f}".format(
                *np.quantile(given, [0.05, 0.95])
            )
            if plan.windows > 1
            else None,
        }


def _map_nulls(
    name: str, n: int, sizes: Sequence[int], plan: Plan, number: int, *, thin: bool
) -> dict[int, list[list[float]]]:
    """Give the p-values with one map: by window size, reference and window."""
    found: dict[int, list[list[float]]] = {size: [] for size in sizes}
    rng = np.random.default_rng([11, number, n, len(name)])
    rows = LAWS[name](rng, plan.population, plan.dimension).astype(np.float16)
    features = fit(rows[rng.permutation(len(rows))[:n]], seed=number)
    phi = features.phi(rows).astype(np.float64)
    layout = Layout(reference="simulated", features=features, vocab=(), edges={}, moment_classes=())
    for _ in range(plan.references):
        reference = _reference(phi, n, layout, plan.draws, rng)
        for size in sizes:
            windows = _windows(phi, size, plan.windows, rng, thin=thin)
            tested = [compare_embeddings(each, reference, thin=thin) for each in windows]
            found[size].append([each.p_value or 0.0 for each in tested])
    return found


def rates(p: Floats, *, independent: int) -> dict[str, float | str]:
    """Give the rates of small p, each with its 95 % interval by Clopper and Pearson.

    Parameters
    ----------
    p
        Any shape.
    independent
        How many of them are independent: the interval is that of so many.
    """
    row: dict[str, float | str] = {}
    for name, level in (("p ≤ .05", 0.05), ("p ≤ .01", 0.01)):
        rate = float((p <= level).mean())
        hits = rate * independent
        low = beta.ppf(0.025, hits, independent - hits + 1) if hits > 0 else 0.0
        high = beta.ppf(0.975, hits + 1, independent - hits) if hits < independent else 1.0
        row |= {name: rate, f"{name}, 95 %": f"{low:.3f} – {high:.3f}"}
    return row


def _reference(
    phi: Floats, n: int, layout: Layout, draws: int, rng: np.random.Generator
) -> WindowReference:
    # Single precision is ten times finer than φ's own steps.
    mine = phi[rng.integers(0, len(phi), n)].astype(np.float32)
    return _of_phi(mine, layout, draws, rng)


def _of_phi(
    phi: npt.NDArray[np.floating], layout: Layout, draws: int, rng: np.random.Generator
) -> WindowReference:
    """Make a reference as an import does, but for what its embedding test does not need."""
    n = len(phi)
    covariance = shrink_covariance(phi * phi.dtype.type(2.0**-FRACTION_BITS)).astype(np.float64)
    sums = np.zeros((PARTS, 1 + phi.shape[1]), dtype=np.int64)
    sums[0, 0], sums[0, 1:] = n, phi.sum(axis=0, dtype=np.float64)
    return WindowReference(
        layout=layout,
        sums=EpisodeSums(
            reference=layout.reference,
            predictions=n,
            arrays={"phi": sums, "classes": np.array([n])},
        ),
        deviations={},
        covariance=covariance,
        traces=traces_of(covariance),
        null_table=draw_null(np.linalg.eigvalsh(covariance), draws, rng),
        curve=None,
        class_curves={},
    )


def _windows(
    phi: Floats, size: int, count: int, rng: np.random.Generator, *, thin: bool
) -> list[npt.NDArray[np.int64]]:
    """Sum windows of that many rows, in the parts they are thinned by."""
    chosen = rng.integers(0, len(phi), (count, size))
    shape = (count, PARTS if thin else 1)
    parts = np.minimum(rng.geometric(0.5, chosen.shape) - 1, PARTS - 1) if thin else 0 * chosen
    cells = np.arange(count)[:, None] * shape[1] + parts
    places = (cells * len(phi) + chosen).ravel()
    counts = np.bincount(places, minlength=count * shape[1] * len(phi)).astype(np.float64)
    counts = counts.reshape(-1, len(phi))
    sums = np.column_stack([counts.sum(axis=1), counts @ phi]).astype(np.int64)
    return list(sums.reshape(*shape, -1))


def built(rows: Floats, seed: int, draws: int) -> WindowReference:
    """Build a reference from its rows."""
    features = fit(rows.astype(np.float16), seed)
    phi = features.phi(rows.astype(np.float16)).astype(np.float64)
    layout = Layout(reference="built", features=features, vocab=(), edges={}, moment_classes=())
    return _of_phi(phi, layout, draws, np.random.default_rng([seed, 6]))
