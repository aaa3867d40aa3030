"""What a drill stands on: held-out rows, and pictures shifted by the import or now."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pyarrow import BufferReader, parquet

from monitor.certificate import Depth
from monitor.errors import DrillRefused, NotFound
from monitor.services.context import Context
from monitor.services.drills.holdings import Holdings, holdings
from monitor.services.drills.request import DrillRequest, Progress
from monitor.services.kill_switch import unserved
from monitor.services.references import Reference
from monitor.services.streams.opening import EPISODE_GAP_S
from monitor.store.bundles import Bundles, RegisteredBundle
from monitor.store.engine import reading
from monitor.store.routes import Routes
from reference_data import held_out, pictures, shifted, shifted_pass
from reference_data.bundle import Bundle, load
from reference_data.held_out import HeldOut
from reference_data.pictures import Picture
from reference_data.scoring import Scorer
from reference_data.shifted import NO_CLASS, Shifted

NOVEL_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
MOST_NOVEL = 1_000


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


def survey(context: Context, request: DrillRequest, progress: Progress) -> Ground:
    """Read the bundle to drill, and shift its pictures if the import did not.

    Raises
    ------
    NotFound
        If there is no such model or version, or no picture where one should be.
    DrillRefused
        If the bundle holds nothing that could be drilled.
    """
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
