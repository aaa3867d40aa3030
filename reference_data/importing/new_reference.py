"""What follows from held-out rows, made anew with confirmed rows among them.

Calibration, class counts, temperature, held-out rows, window reference and report; the fitted
scores are not touched.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import numpy.typing as npt

from reference_data import held_out, window_reference
from reference_data.accuracy import fit_temperature
from reference_data.bundle import Bundle, CalibrationSize, Counts
from reference_data.calibration import archive, count_classes, property_quantiles
from reference_data.calibration_size import CalibrationRows, calibration_size
from reference_data.conformal import unsureness
from reference_data.guarantee import (
    Guarantee,
    choose_alpha,
    resolves,
    split_was_known,
    state_guarantee,
)
from reference_data.held_out import HeldOut
from reference_data.importing.confirmed import Confirmed
from reference_data.importing.retold import Retold, retell
from reference_data.judgement import Calibration
from reference_data.report import Report, make_report
from reference_data.roles import ReferenceRow, Roles, assign_roles
from reference_data.scores.forward import half, softmax
from reference_data.scores.joint import JointScore
from reference_data.scoring import Scorer

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NewReference:
    """The files of a new reference, and what they promise."""

    files: dict[str, bytes]
    """reference.npz, held_out.npz, windows.npz and report.json."""
    retold: Retold
    roles: Roles
    counts: Counts
    calibration: CalibrationSize | None
    alpha: float
    guarantee: Guarantee
    report: Report
    flagged_after: float | None
    """Share flagged of the confirmed rows that did not calibrate; None without any."""
    judged_after: int
    """How many these are."""


def compose(scorer: Scorer, confirmed: Confirmed, beside: HeldOut | None) -> NewReference:
    """Make the files of the new reference.

    Parameters
    ----------
    scorer
        Of the parent bundle.
    confirmed
        The rows to take in.
    beside
        Held-out rows of the parent that they join; None to replace all of them.
    """
    parent, manifest = scorer.bundle, scorer.bundle.manifest
    joins = beside is not None
    frames = 1 if manifest.calibration is None else manifest.calibration.frames
    roles = _divide(confirmed.rows, manifest.seed, frames if joins else None)
    retold = retell(parent, keep_held_out=joins)
    new = held_out.collect(
        confirmed.rows,
        roles,
        confirmed.outputs,
        confirmed.semantic,
        confirmed.domain,
        manifest.seed,
    )
    new = replace(new, rows=new.rows + retold.kept)
    held = new if beside is None else held_out.joined(beside, new)
    if len(held) > held_out.MOST_ROWS:
        chosen = np.random.default_rng([manifest.seed, 3]).permutation(len(held))
        held = held.take(np.sort(chosen[: held_out.MOST_ROWS]))
    calibration = _calibration(scorer, confirmed, roles, joins=joins)
    rows, joint = len(calibration.semantic), calibration.joint is not None
    size = _size(held, roles.frames, rows, calibration.joining)
    worth = rows if size is None else int(size.smallest)
    alpha = choose_alpha(worth, joint=joint)
    if resolves(worth, manifest.alpha, joint=joint):
        alpha = manifest.alpha
    known = not joins or split_was_known(manifest.certified_reason)
    guarantee = state_guarantee(worth, alpha, split_known=known, size=size, joint=joint)
    tempering = held.of_role("temperature")
    temperature = fit_temperature(tempering.logits, tempering.labels)
    retold.add(confirmed, roles, calibration, manifest.vocab, manifest.seed)
    flagged = _flagged(held, retold, calibration, manifest.seed, alpha)
    report = _report(held, retold, flagged, temperature, scorer, guarantee, joins=joins)
    idle = held.role != "calibrate" if held.times is None else held.times == 0
    judged = np.flatnonzero((held.rows >= retold.kept) & idle)
    files = {
        "reference.npz": archive(
            {
                **calibration.to_arrays(),
                "confidence": _unsureness(parent, confirmed, roles, joins=joins),
                "class_counts": _class_counts(parent, confirmed, roles, joins=joins),
                "temperature": np.array(temperature),
                **retold.embeddings(half(confirmed.outputs.embedding), manifest.seed),
                **property_quantiles(_measured(held.of_role("calibrate"))),
            }
        ),
        held_out.FILE: held.to_bytes(),
        window_reference.FILE: window_reference.to_bytes(
            window_reference.build(held, manifest.vocab, manifest.seed)
        ),
        "report.json": msgspec.json.format(msgspec.json.encode(report), indent=2),
    }
    return NewReference(
        files=files,
        retold=retold,
        roles=roles,
        counts=_counts(manifest.counts, roles.counts, joins=joins),
        calibration=size,
        alpha=alpha,
        guarantee=guarantee,
        report=report,
        flagged_after=float(flagged[judged].mean()) if len(judged) else None,
        judged_after=len(judged),
    )


def _size(
    held: HeldOut, frames: int, rows: int, joining: JointScore | None
) -> CalibrationSize | None:
    """Measure what the calibration rows are worth, on as many of them as are kept as rows."""
    kept = held.calibrating()
    scores = {
        "semantic": kept.semantic,
        "domain": kept.domain,
        "confidence": unsureness(softmax(kept.logits).max(axis=1)),
    }
    if joining is not None:
        scores["joint"] = joining.score(kept.semantic, kept.domain)
    found = calibration_size(
        CalibrationRows(
            episodes=kept.episodes,
            frames=frames,
            scores=scores,
            predictions=kept.logits.argmax(axis=1),
            properties=kept.properties,
        )
    )
    if found is None:
        return None
    part = rows / max(1, found.rows)
    return CalibrationSize(
        rows=rows,
        episodes=rows // frames,
        frames=frames,
        n_eff={name: worth * part for name, worth in found.n_eff.items()},
    )


def _divide(rows: Sequence[ReferenceRow], seed: int, frames: int | None) -> Roles:
    """Divide the confirmed episodes as an import divides held-out ones."""
    # Dividing asks for a training side, and there is none here: one row stands in for it.
    stand_in = ReferenceRow(
        item="", label=0, held_out=False, episode="\0training", properties={}, segments={}
    )
    roles = assign_roles([*rows, stand_in], seed, split_known=True, frames=frames)
    none = np.zeros(0, dtype=np.intp)
    return replace(roles, train=none, counts=msgspec.structs.replace(roles.counts, train=0))


def _calibration(scorer: Scorer, confirmed: Confirmed, roles: Roles, *, joins: bool) -> Calibration:
    places = roles.spread
    old, new = scorer.calibration, (confirmed.semantic[places], confirmed.domain[places])
    return old.joined_by(*new) if joins else Calibration.of(*new, old.joining)


def _unsureness(parent: Bundle, confirmed: Confirmed, roles: Roles, *, joins: bool) -> Floats:
    new = unsureness(softmax(confirmed.outputs.logits[roles.spread]).max(axis=1))
    if joins:
        old = parent.arrays("reference.npz")["confidence"].astype(np.float64)
        new = np.concatenate([old, new])
    return np.sort(new)


def _class_counts(
    parent: Bundle, confirmed: Confirmed, roles: Roles, *, joins: bool
) -> npt.NDArray[np.int64]:
    counts = count_classes(confirmed.outputs.logits[roles.spread])
    if joins:
        counts = counts + parent.arrays("reference.npz")["class_counts"].astype(np.int64)
    return counts


def _counts(old: Counts, new: Counts, *, joins: bool) -> Counts:
    kept = old if joins else Counts(train=old.train, temperature=0, calibrate=0, estimate=0)
    return Counts(
        train=old.train,
        temperature=kept.temperature + new.temperature,
        calibrate=kept.calibrate + new.calibrate,
        estimate=kept.estimate + new.estimate,
    )


def _measured(held: HeldOut) -> list[ReferenceRow]:
    """Give held-out rows as rows with their properties; what is not known of them is left out."""
    return [
        ReferenceRow(
            item=str(row),
            label=int(held.labels[place]),
            held_out=True,
            episode=str(row),
            properties={
                name: float(column[place])
                for name, column in held.properties.items()
                if np.isfinite(column[place])
            },
        )
        for place, row in enumerate(held.rows.tolist())
    ]


def _flagged(
    held: HeldOut, retold: Retold, calibration: Calibration, seed: int, alpha: float
) -> npt.NDArray[np.bool_]:
    items = [retold.items[row] for row in held.rows.tolist()]
    flagged: npt.NDArray[np.bool_] = (
        calibration.judge(held.semantic, held.domain, items, seed).value <= alpha
    )
    return flagged


def _report(
    held: HeldOut,
    retold: Retold,
    flagged: npt.NDArray[np.bool_],
    temperature: float,
    scorer: Scorer,
    guarantee: Guarantee,
    *,
    joins: bool,
) -> Report:
    parent = scorer.bundle.manifest
    rows = [
        replace(row, item=retold.items[place], episode=str(place))
        for row, place in zip(_measured(held), held.rows.tolist(), strict=True)
    ]
    named = {role: np.flatnonzero(held.role == role) for role in ("temperature", "estimate")}
    roles = Roles(
        train=np.arange(len(rows), dtype=np.intp),  # no class is missing: nothing is trained here
        held_out=np.arange(len(rows), dtype=np.intp),
        temperature=named["temperature"],
        calibrate=np.flatnonzero(held.role == "calibrate"),
        spread=np.flatnonzero(held.role == "calibrate"),
        frames=1,
        estimate=named["estimate"],
        counts=Counts(train=0, temperature=0, calibrate=0, estimate=0),
    )
    report = make_report(
        rows,
        roles,
        vocab=parent.vocab,
        held_out_logits=held.logits,
        predictions=held.logits.argmax(axis=1),
        labels=held.labels,
        flagged=flagged,
        temperature=temperature,
        semantic=scorer.semantic,
        guarantee=guarantee,
    )
    return msgspec.structs.replace(report, notes=(_consequence(parent.version, joins=joins),))


def _consequence(version: str, *, joins: bool) -> str:
    if joins:
        return (
            f"confirmed rows joined the held-out rows of version {version}: healthy traffic is now "
            "the mixture of both, and a stream of only one kind is drift to it"
        )
    return (
        f"confirmed rows took the place of the held-out rows of version {version}: traffic like "
        "those is no longer healthy by itself"
    )
