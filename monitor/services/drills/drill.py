"""Drill a bundle: replay the null, inject shifts, and write down what its alarms are worth.

Load: the bundle's held-out rows and its shifted ones, or pictures to shift now. Decide: replay,
inject, refuse or certify. Save: one certificate and its entry in the audit.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from pyarrow import BufferReader, parquet
from uuid6 import uuid7

from monitor.certificate import (
    Certificate,
    Depth,
    Injected,
    refusal,
)
from monitor.errors import DrillRefused, NotFound
from monitor.policy import MIN_RESOLVE_AFTER
from monitor.services.context import Context
from monitor.services.drills import null_replay
from monitor.services.drills.certificates import settings_in_words
from monitor.services.drills.holdings import Holdings, holdings
from monitor.services.drills.injection import Injection, prepare
from monitor.services.drills.null_replay import Grants
from monitor.services.drills.passages import Judge
from monitor.services.drills.traffic import arrivals
from monitor.services.kill_switch import unserved
from monitor.services.references import Reference
from monitor.services.streams.stream import EPISODE_GAP_S, detector_configuration
from monitor.stats.accuracy.paired import Effect, paired_effect, unpaired_effect
from monitor.stats.share import flagged_share
from monitor.store.audit import Audit
from monitor.store.bundles import Bundles, RegisteredBundle
from monitor.store.certificates import Certificates
from monitor.store.engine import reading
from monitor.store.routes import Routes
from reference_data import held_out, pictures, shifted, shifted_pass
from reference_data.bundle import Bundle, load
from reference_data.conformal import combined
from reference_data.held_out import HeldOut
from reference_data.pictures import Picture
from reference_data.scoring import Scorer
from reference_data.shifted import HEALTHY, NO_CLASS, Shifted

QUICK_SHARES = (0.1, 1.0)
FULL_SHARES = (0.01, 0.05, 0.1, 0.2, 0.5, 1.0)
QUICK_REPEATS, FULL_REPEATS = 10, 20
QUICK_REPLAYS, FULL_REPLAYS = 20, 100
FEWEST_OF_CLASS = 20
"""Held-out rows of a class that make a change of the class mix."""
NOVEL_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
MOST_NOVEL = 1_000


class Progress(Protocol):
    """Where a drill reports its steps; a command line turns them into bars."""

    def step(self, name: str, total: int | None) -> AbstractContextManager[Callable[[int], None]]:
        """Begin a step and return what to call with the number of items just done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillRequest:
    """What to drill, and how thoroughly."""

    model: str
    version: str | None = None
    """``None`` drills the one that is served."""
    depth: Depth = Depth.QUICK
    novel: Path | None = None
    """Folder of pictures of things the model never saw."""
    data: Path | None = None
    """Folder the model was imported from: more held-out pictures than the bundle keeps."""
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ground:
    """What a drill stands on, read once."""

    bundle: Bundle
    registered: RegisteredBundle
    reference: Reference
    held: HeldOut
    independent: npt.NDArray[np.bool_]
    """The first held-out row of each episode, [n]."""
    passed: Shifted
    pictures: int
    holdings: Holdings
    episode_gap_s: float
    notes: tuple[str, ...] = field(default=())


def drill(
    context: Context, request: DrillRequest, progress: Progress, *, by: str, now: datetime
) -> Certificate:
    """Drill a bundle and save its certificate.

    Raises
    ------
    NotFound
        If there is no such model or version.
    DrillRefused
        If the bundle holds nothing that could be drilled.
    """
    ground = _load(context, request, progress)
    certificate = _decide(context, ground, request, progress, by=by, now=now)
    with context.engine.begin() as conn:
        Certificates(conn).add(certificate)
        detail = {
            "id": certificate.id,
            "depth": certificate.depth,
            "refused": certificate.refused,
            "weak_spots": list(certificate.weak_spots),
        }
        Audit(conn).add(by, "bundle.drilled", f"bundle/{certificate.bundle_sha}", detail, now)
    return certificate


def certify(
    context: Context, bundle: Bundle, progress: Progress, *, seed: int, by: str, now: datetime
) -> Certificate | None:
    """Give a bundle just made its quick drill; None when it holds nothing to drill.

    It is made and registered all the same: its alarms open as tickets.
    """
    manifest = bundle.manifest
    request = DrillRequest(model=manifest.name, version=manifest.version, seed=seed)
    try:
        return drill(context, request, progress, by=by, now=now)
    except DrillRefused:
        return None


def _load(context: Context, request: DrillRequest, progress: Progress) -> Ground:
    registered, gap = _find(context, request)
    bundle = load(Path(registered.path), expected_digest=registered.sha)
    held = held_out.read(bundle)
    if held is None:
        raise DrillRefused(
            request.model, "its bundle was imported before held-out rows were kept", "import again"
        )
    if not len(held.of_role("calibrate")):
        raise DrillRefused(request.model, "no held-out row calibrates it", "hold out more rows")
    reference = context.references.open(registered)
    with reading(context.engine) as conn:
        held_terms = holdings(
            conn, request.model, reference.baseline, context.settings.monitor.detectors
        )
    passed, taken, notes = _shift(bundle, request, progress)
    return Ground(
        bundle=bundle,
        registered=registered,
        reference=reference,
        held=held,
        independent=_first_of_episode(bundle, held),
        passed=passed,
        pictures=taken,
        holdings=held_terms,
        episode_gap_s=gap,
        notes=notes,
    )


def _find(context: Context, request: DrillRequest) -> tuple[RegisteredBundle, float]:
    with reading(context.engine) as conn:
        routes = Routes(conn).current()
        bundles = Bundles(conn).of(request.model)
        route = routes.get(request.model)
        if request.version is None:
            if route is None:
                raise NotFound("model", request.model, unserved(sorted(routes)))
            return Bundles(conn).trusted(route.bundle_sha), route.episode_gap_s
        for bundle in bundles:
            if bundle.version == request.version:
                gap = EPISODE_GAP_S if route is None else route.episode_gap_s
                return Bundles(conn).trusted(bundle.sha), gap
    known = ", ".join(bundle.version for bundle in bundles) or "none"
    raise NotFound("version", f"{request.version} of {request.model}", f"There is: {known}.")


def _first_of_episode(bundle: Bundle, held: HeldOut) -> npt.NDArray[np.bool_]:
    table = parquet.read_table(BufferReader(bundle.read("reference.parquet")), columns=["episode"])
    episodes = np.array(table["episode"].to_pylist())[held.rows]
    _, first = np.unique(episodes, return_index=True)
    return np.isin(np.arange(len(held)), first)


def _shift(
    bundle: Bundle, request: DrillRequest, progress: Progress
) -> tuple[Shifted, int, tuple[str, ...]]:
    """Read what the import shifted, or shift pictures now."""
    stored = shifted.read(bundle)
    fresh = request.depth is Depth.FULL or request.data is not None or stored is None
    path = None
    notes: list[str] = []
    if fresh:
        kept = _pictures(bundle, request)
        path = shifted_pass.ForwardPath.of(Scorer.open(bundle))
        full = request.depth is Depth.FULL
        wanted = shifted_pass.grades() if full else shifted_pass.grades((1, 3, 5))
        chosen = kept if full else kept[: shifted_pass.QUICK_PICTURES]
        with progress.step("shifting held-out pictures", len(chosen) * len(wanted)) as advance:
            stored = shifted_pass.run(
                path,
                chosen,
                wanted,
                seed=request.seed,
                advance=advance,
                seconds=None if full else shifted_pass.QUICK_SECONDS,
            )
    if stored is None:
        raise DrillRefused(
            request.model, "none of its held-out pictures can be read", "check --data"
        )
    taken = len(np.unique(stored.rows))
    if request.novel is not None:
        path = path or shifted_pass.ForwardPath.of(Scorer.open(bundle))
        given = _novel(request.novel)
        with progress.step("predicting what it never saw", len(given)) as advance:
            novel = shifted_pass.run_novel(path, given, advance)
        if novel is None:
            raise NotFound("readable picture in", str(request.novel), "Check --novel.")
        stored = shifted.joined(stored, novel)
    else:
        notes.append(
            "unseen classes: its own pictures cut up stand in for them; --novel DIR takes real ones"
        )
    return stored, taken, tuple(notes)


def _pictures(bundle: Bundle, request: DrillRequest) -> list[Picture]:
    kept = pictures.read(bundle)
    if request.data is None:
        if kept is None:
            raise DrillRefused(
                request.model,
                "its bundle was imported before pictures were kept",
                "name the imported folder with --data, or import again",
            )
        return kept
    table = parquet.read_table(BufferReader(bundle.read("reference.parquet")))
    classes = {label: place for place, label in enumerate(bundle.manifest.vocab)}
    found = [
        Picture(row=row, item=item, label=classes[label], data=file.read_bytes())
        for row, (item, label, role) in enumerate(
            zip(*(table[name].to_pylist() for name in ("path", "label", "role")), strict=True)
        )
        if role != "train" and (file := request.data / item).is_file()
    ]
    if not found:
        raise NotFound("held-out picture in", str(request.data), "Give the folder of the import.")
    order = np.random.default_rng([request.seed, 5]).permutation(len(found))
    return [found[place] for place in order.tolist()]


def _novel(folder: Path) -> list[Picture]:
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in NOVEL_SUFFIXES)
    return [
        Picture(row=-1, item=file.name, label=NO_CLASS, data=file.read_bytes())
        for file in files[:MOST_NOVEL]
    ]


def _decide(
    context: Context,
    ground: Ground,
    request: DrillRequest,
    progress: Progress,
    *,
    by: str,
    now: datetime,
) -> Certificate:
    manifest, baseline = ground.bundle.manifest, ground.reference.baseline
    options = context.settings.monitor.detectors
    full = request.depth is Depth.FULL
    rng = np.random.default_rng([request.seed, 11])
    traffic = arrivals(context, request.model, now)
    grants = Grants.of(options, traffic)
    calibrating = ground.held.of_role("calibrate")
    judge = Judge.of(ground.bundle)
    replays = FULL_REPLAYS if full else QUICK_REPLAYS
    with progress.step("replaying healthy rows", replays) as advance:
        null = null_replay.replay(
            ground.held.take(ground.independent),
            baseline,
            ground.holdings,
            options,
            grants,
            alpha=manifest.alpha,
            band=ground.reference.flag_band,
            own=judge,
            replays=replays,
            rng=rng,
            advance=advance,
        )
    streams = ground.holdings.open(request.model, baseline)
    injection = prepare(
        streams, calibrating, judge, grants, FULL_REPEATS if full else QUICK_REPEATS, rng
    )
    injected = _inject(ground, injection, judge, request, progress)
    weak = tuple(each.name for each in injected if each.weak)
    return Certificate(
        id=str(uuid7()),
        model=request.model,
        version=manifest.version,
        bundle_sha=ground.bundle.digest,
        configuration=detector_configuration(options, baseline, episode_gap_s=ground.episode_gap_s),
        settings=settings_in_words(options, baseline, ground.episode_gap_s),
        depth=request.depth,
        seed=request.seed,
        pictures=ground.pictures,
        created_at=now,
        by=by,
        traffic=traffic,
        null=null,
        injected=injected,
        weak_spots=weak,
        resolve_after=_resolve_after(injected),
        refused=refusal(
            certified=ground.reference.certified and ground.registered.certified,
            certified_reason=manifest.certified_reason,
            null=null,
            injected=injected,
        ),
        notes=ground.notes,
    )


def _inject(
    ground: Ground,
    injection: Injection,
    judge: Judge,
    request: DrillRequest,
    progress: Progress,
) -> tuple[Injected, ...]:
    passed, alpha = ground.passed, ground.bundle.manifest.alpha
    cells = passed.cells()
    mix = _hardest_class(ground.held)
    shares = FULL_SHARES if request.depth is Depth.FULL else QUICK_SHARES
    healthy = passed.cell(HEALTHY, 0)
    found = []
    with progress.step("injecting shifts", len(cells) + (mix is not None)) as advance:
        for number, (shift, severity) in enumerate(cells):
            rng = np.random.default_rng([request.seed, 13, number])
            cell = passed.cell(shift, severity)
            effect = _effect(healthy, cell)
            found.append(
                _measure(injection, judge, cell, (shift, severity), effect, alpha, shares, rng)
            )
            advance(1)
        if mix is not None:
            rng = np.random.default_rng([request.seed, 13, len(cells)])
            rows, right = ground.held.take(ground.held.labels == mix), _right(ground.held)
            effect = unpaired_effect(right, right[ground.held.labels == mix])
            name = f"more of class {ground.bundle.manifest.vocab[mix]}"
            found.append(_measure(injection, judge, rows, (name, 0), effect, alpha, shares, rng))
            advance(1)
    return tuple(found)


def _hardest_class(held: HeldOut) -> int | None:
    """Pick the class whose growth would cost most: the one predicted worst."""
    classes, counts = np.unique(held.labels, return_counts=True)
    known = classes[counts >= FEWEST_OF_CLASS].tolist()
    right = _right(held)
    return min(known, key=lambda label: right[held.labels == label].mean(), default=None)


def _right(rows: HeldOut | Shifted) -> npt.NDArray[np.bool_]:
    return np.asarray(rows.logits.argmax(axis=1) == rows.labels)


def _effect(healthy: Shifted, cell: Shifted) -> Effect | None:
    """Compare the pictures of a cell with themselves as they were."""
    before = dict(zip(healthy.rows.tolist(), _right(healthy).tolist(), strict=True))
    paired = np.isin(cell.rows, healthy.rows) & (cell.labels != NO_CLASS)
    rows = cell.take(paired)
    was = np.array([before[row] for row in rows.rows.tolist()], dtype=np.bool_)
    return paired_effect(was, _right(rows))


def _measure(
    injection: Injection,
    judge: Judge,
    rows: HeldOut | Shifted,
    named: tuple[str, int],
    effect: Effect | None,
    alpha: float,
    shares: Sequence[float],
    rng: np.random.Generator,
) -> Injected:
    episodes = judge.episodes(rows, f"{named[0]}/{named[1]}")
    semantic = np.array([episode.p_semantic for episode in episodes])
    domain = np.array([episode.p_domain for episode in episodes])
    flagged = flagged_share(int((combined(semantic, domain) <= alpha).sum()), len(episodes), 1)
    return Injected(
        shift=named[0],
        severity=named[1],
        rows=len(episodes),
        flagged=flagged.count,
        flagged_low=flagged.low,
        flagged_high=flagged.high,
        accuracy=effect,
        delays=injection.delays(episodes, shares, rng),
    )


def _resolve_after(injected: Sequence[Injected]) -> int:
    """Take the 90 % delay over the shifts that are seen at full share, at least the least there is.

    While such a change goes on, an alarm is refreshed within so many episodes nine times in ten.
    """
    seen = [
        each.full.ninetieth
        for each in injected
        if each.full is not None and each.full.ninetieth is not None
    ]
    if not seen:
        return MIN_RESOLVE_AFTER
    return max(MIN_RESOLVE_AFTER, int(np.quantile(seen, 0.9, method="higher")))
