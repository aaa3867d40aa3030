"""Make a new reference of a bundle, with confirmed data of the field in it.

The model and the fitted scores stay, byte by byte; what follows from held-out rows is made anew:
calibration, class counts, held-out rows, window reference, report, pictures. *Join* adds the
confirmed rows to the held-out ones: healthy traffic is then the mixture of both, in the proportions
in which they are here, and a stream of only one kind is drift to it. *Replace* puts them in the
place of the held-out ones: what the field confirmed is then all that is healthy. Either way the
guarantee holds for traffic exchangeable with the new calibration rows, and for no other.

The result is another bundle with a digest of its own, whose manifest names its parent, who made it,
when and why. Nothing does this by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from reference_data import held_out, pictures, shifted, shifted_pass
from reference_data.bundle import BODY, Bundle, Manifest, Rebaseline, write
from reference_data.errors import ImportRefused
from reference_data.guarantee import (
    flag_band,
)
from reference_data.held_out import HeldOut
from reference_data.importing.confirmed import Confirmed, read_confirmed
from reference_data.importing.import_learner import next_version
from reference_data.importing.new_reference import NewReference, compose
from reference_data.importing.reference_pass import picture
from reference_data.importing.request import Progress
from reference_data.scoring import Scorer

Mode = Literal["join", "replace"]
Floats = npt.NDArray[np.float64]


_KEPT = ("model.onnx", BODY, "scores.npz")
"""Files that a new reference takes over byte by byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RebaselineRequest:
    """Which reference, which confirmed data, who and why."""

    parent: Bundle
    data: Path
    mode: Mode
    reason: str
    by: str
    at: datetime
    group_by: str | None = None
    """As for an import: what items of one episode share."""
    accept_shift: bool = False
    """Take the rows in although the parent flags more of them than of healthy inputs."""
    drill: bool = True
    """Shift held-out pictures for the drill, as an import does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebaselined:
    """A new reference, written and not yet registered."""

    bundle: Bundle
    flagged_before: float
    """Share of the confirmed rows that the parent flags."""
    flagged_after: float | None
    """Share that the new reference flags, of those that did not calibrate it; None without any."""
    judged_after: int
    """How many these are."""
    calibrate_before: int
    notes: tuple[str, ...]


def rebaseline(request: RebaselineRequest, progress: Progress) -> Rebaselined:
    """Write a new bundle whose reference holds the confirmed rows.

    Raises
    ------
    ImportRefused
        When the rows cannot join, the parent cannot be extended, or too many of them are flagged
        and nobody accepted that.
    """
    parent, beside = request.parent, _beside(request)
    scorer = Scorer.open(parent)
    confirmed = read_confirmed(parent, scorer, request.data, progress, group_by=request.group_by)
    before = float(confirmed.flagged.mean())
    joint = scorer.calibration.joint is not None
    shifted_now = _refuse_shift(request, confirmed, before, joint=joint)
    made = compose(scorer, confirmed, beside)
    files = dict(made.files)
    with progress.step("making thumbnails", None) as advance:
        files |= made.retold.tables(
            lambda place: picture(confirmed.kept[place], parent.manifest.preprocessing), advance
        )
    kept = _pictures(made, confirmed, request)
    files[pictures.FILE] = pictures.write(kept)
    if request.drill:
        files |= _shifted(scorer, kept, progress)
    record = Rebaseline(
        parent=parent.digest,
        mode=request.mode,
        rows=len(confirmed.rows),
        episodes=confirmed.episodes,
        by=request.by,
        at=request.at.isoformat(timespec="seconds"),
        reason=request.reason,
        flagged_before=before,
        accepted_shift=shifted_now,
    )
    contents: dict[str, bytes | Path] = {
        **files,
        **{name: parent.file(name) for name in _KEPT if name in parent.manifest.files},
    }
    bundle = write(parent.path.parent, _manifest(request, made, confirmed, record), contents)
    return Rebaselined(
        bundle=bundle,
        flagged_before=before,
        flagged_after=made.flagged_after,
        judged_after=made.judged_after,
        calibrate_before=parent.manifest.counts.calibrate,
        notes=(*confirmed.notes, *made.report.notes),
    )


def _beside(request: RebaselineRequest) -> HeldOut | None:
    if request.mode == "replace":
        return None
    old = held_out.read(request.parent)
    if old is None:
        raise ImportRefused(
            f"version {request.parent.manifest.version} of {request.parent.manifest.name} was "
            "imported before held-out rows were kept, so nothing can join them. Import the model "
            "again, or use --mode replace."
        )
    return old


def _refuse_shift(
    request: RebaselineRequest, confirmed: Confirmed, before: float, *, joint: bool
) -> bool:
    """Tell whether more rows are flagged than of healthy inputs; refuse that unless accepted."""
    manifest = request.parent.manifest
    _, most = flag_band(manifest.effective, manifest.alpha, joint=joint)
    if before <= most:
        return False
    if not request.accept_shift:
        raise ImportRefused(
            f"version {manifest.version} of {manifest.name} flags {before:.1%} of the "
            f"{len(confirmed.rows)} confirmed rows, and at most {most:.1%} of healthy inputs: "
            "these rows are what its alarms are about. Taken into the reference, they are healthy "
            "from then on, and the alarms about them end. If that is meant, because the labels "
            "were confirmed and the model is right about such inputs, add --accept-shift."
        )
    return True


def _pictures(
    made: NewReference, confirmed: Confirmed, request: RebaselineRequest
) -> list[pictures.Picture]:
    """Keep pictures for the drill: of the confirmed rows, and of those before them in turn."""
    new = pictures.sample(
        pictures.order(made.roles, request.parent.manifest.seed),
        [row.item for row in confirmed.rows],
        np.array([row.label for row in confirmed.rows], dtype=np.intp),
        lambda row: confirmed.kept[row].path.read_bytes(),
    )
    new = [replace(each, row=each.row + made.retold.kept) for each in new]
    old = []
    for each in (pictures.read(request.parent) or []) if request.mode == "join" else []:
        place = made.retold.place_of(each.row)
        if place is not None:
            old.append(replace(each, row=place))
    turns = [pair for both in zip(new, old, strict=False) for pair in both]
    shared = min(len(new), len(old))
    ordered = [*turns, *new[shared:], *old[shared:]]
    size = 0
    taken: list[pictures.Picture] = []
    for each in ordered[: pictures.MOST_PICTURES]:
        size += len(each.data)
        if taken and size > pictures.MOST_BYTES:
            break
        taken.append(each)
    return taken


def _shifted(
    scorer: Scorer, kept: Sequence[pictures.Picture], progress: Progress
) -> dict[str, bytes]:
    wanted = shifted_pass.grades(shifted_pass.QUICK_SEVERITIES)
    chosen = kept[: shifted_pass.QUICK_PICTURES]
    with progress.step("shifting held-out pictures", len(chosen) * len(wanted)) as advance:
        found = shifted_pass.run(
            shifted_pass.ForwardPath.of(scorer),
            chosen,
            wanted,
            seed=scorer.bundle.manifest.seed,
            advance=advance,
            seconds=shifted_pass.QUICK_SECONDS,
        )
    return {} if found is None else {shifted.FILE: found.to_bytes()}


def _manifest(
    request: RebaselineRequest, made: NewReference, confirmed: Confirmed, record: Rebaseline
) -> Manifest:
    parent = request.parent.manifest
    segments = dict.fromkeys([*parent.segments, *confirmed.table.segments])
    joins = request.mode == "join"
    return msgspec.structs.replace(
        parent,
        version=next_version(request.parent.path.parent),
        created_at=record.at,
        alpha=made.alpha,
        certified=made.guarantee.certified,
        certified_reason=made.guarantee.reason,
        counts=made.counts,
        calibration=made.calibration,
        episodes_known=confirmed.table.episodes_known and (parent.episodes_known or not joins),
        segments=tuple(segments),
        rebaselined=record,
        files={},
    )
