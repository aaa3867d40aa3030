"""Build the reference: what training looked like, calibrated on rows held out from it.

Fits the out-of-domain scores on training rows, divides held-out episodes into temperature,
calibrate and estimate, calibrates, and writes down what the monitor will compare the field with.
The numbers are those of `reference_data.scoring`'s forward pass, the one that serves.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
from PIL import Image

from reference_data import cross_fits, held_out, window_reference
from reference_data.bundle import CalibrationSize, Counts
from reference_data.calibrated import Calibrated, calibrate
from reference_data.calibration import archive, count_classes, property_quantiles
from reference_data.cross_conformal import FEWEST_FOLDS, MOST_FOLDS
from reference_data.division import group
from reference_data.errors import ImportRefused
from reference_data.fits import Fits, Head, Items, fit_scores
from reference_data.guarantee import (
    FEWEST_CERTIFIED,
)
from reference_data.reference_tables import ItemColumns, item_table, thumbnail_table
from reference_data.report import Report, make_report
from reference_data.roles import ReferenceRow, assign_roles
from reference_data.row_pass import RowPass, run_through
from reference_data.scores.forward import Forward
from reference_data.scores.member import DEFAULT, Member
from reference_data.scores.shrinkage import DoesNotFit

MOST_NEIGHBOURS = 50_000
MOST_NEIGHBOUR_BYTES = 64 * 1024 * 1024
"""Embeddings kept to find the training items nearest to an input."""
MOST_THUMBNAILS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceFiles:
    """Everything the reference adds to a bundle."""

    files: dict[str, bytes]
    """scores.npz, reference.npz, held_out.npz, windows.npz, both tables (.parquet), report.json."""
    alpha: float
    certified: bool
    certified_reason: str
    counts: Counts
    calibration: CalibrationSize | None
    """What the calibration rows are worth; None when each is an episode of its own."""
    report: Report


def build_reference(
    rows: Sequence[ReferenceRow],
    outputs: Iterable[Forward],
    *,
    weights: npt.NDArray[np.float32] | None,
    vocab: Sequence[str],
    seed: int,
    split_known: bool = True,
    alpha: float | None = None,
    picture: Callable[[int], Image.Image] | None = None,
    bias: npt.NDArray[np.float32] | None = None,
    members: Sequence[Member] = DEFAULT,
    cross_folds: int | None = None,
    advance: Callable[[int], None] = lambda _count: None,
) -> ReferenceFiles:
    """Fit, divide, calibrate and summarise.

    Parameters
    ----------
    rows
        All items, training and held-out.
    outputs
        Forward passes over the same rows in the same order, cut into batches at will. They are gone
        through several times and never held together: what is kept of training rows does not grow
        with them but for a few numbers each.
    weights
        Weights of the linear last layer [C, d], or None when the last layer is none.
    vocab
        Names of the C classes.
    seed
        Decides the division and all samples; recorded in the manifest.
    split_known
        False when nobody knows which rows trained the model: then some are set aside at random
        and the bundle is not certified.
    alpha
        Flagging threshold; by default the strictest that the calibration rows can resolve.
    picture
        Gives the decoded picture of a row for its thumbnail; None keeps no thumbnails.
    bias
        Bias of the linear last layer [C], for the members that read it.
    members
        Scores to combine into the semantic score.
    cross_folds
        Refits of the scores for cross-conformal p-values, for folders with few held-out episodes;
        None calibrates on rows set aside for it.
    advance
        Told the number of thumbnails made since the last call.

    Raises
    ------
    ImportRefused
        If the rows cannot make a reference; the message says which and what to do.
    """
    _refuse_labels(rows, vocab)
    items = Items(
        rows=rows,
        outputs=outputs,
        labels=np.array([row.label for row in rows], dtype=np.intp),
        roles=assign_roles(rows, seed, split_known=split_known),
        vocab=vocab,
        seed=seed,
        split_known=split_known,
    )
    neighbours = _sample_neighbours(items.roles.train, outputs, seed)
    passed = run_through(rows, outputs, held_out=items.roles.held_out, embeddings_of=neighbours)
    head = Head(weights=weights, bias=bias, members=members)
    fits = fit_scores(items, head)
    calibrated = calibrate(items, fits, passed.held_out, alpha)
    crossed = None
    if cross_folds is not None:
        crossed = _cross(items, head, passed.held_out, cross_folds)
        calibrated = calibrated.weakened(crossed)
    columns = _judge(items, passed, calibrated)
    report = make_report(
        rows,
        items.roles,
        vocab=vocab,
        held_out_logits=passed.held_out.logits,
        predictions=passed.predictions,
        labels=items.labels,
        flagged=columns.p_value <= calibrated.alpha,
        temperature=calibrated.temperature,
        semantic=fits.semantic,
        guarantee=calibrated.guarantee,
    )
    shown = _worth_showing(report, rows, neighbours) if picture else []
    files = _numbers(items, fits, passed, calibrated, neighbours) | {
        "reference.parquet": item_table(columns),
        "thumbnails.parquet": thumbnail_table(shown, picture, advance),
        "report.json": msgspec.json.format(msgspec.json.encode(report), indent=2),
    }
    if crossed is not None:
        files[cross_fits.FILE] = crossed.to_bytes()
    return ReferenceFiles(
        files=files,
        alpha=calibrated.alpha,
        certified=calibrated.guarantee.certified,
        certified_reason=calibrated.guarantee.reason,
        counts=items.roles.counts,
        calibration=calibrated.size,
        report=report,
    )


def _judge(items: Items, passed: RowPass, calibrated: Calibrated) -> ItemColumns:
    """Give every row its p-values, by calibrating rows other than itself."""
    return ItemColumns.judge(
        rows=[(row.item, items.vocab[row.label], row.episode) for row in items.rows],
        roles=items.roles.names(len(items.rows)),
        predictions=[items.vocab[index] for index in passed.predictions.tolist()],
        confidence=passed.confidence,
        loss=passed.loss,
        scores={
            name: np.delete(values, calibrated.places) for name, values in calibrated.scores.items()
        },
        calibration=calibrated.calibration,
        judged=np.delete(items.roles.held_out, calibrated.places),
        seed=items.seed,
    )


def _numbers(
    items: Items,
    fits: Fits,
    passed: RowPass,
    calibrated: Calibrated,
    neighbours: npt.NDArray[np.intp],
) -> dict[str, bytes]:
    """Write what scoring, detectors and windows read."""
    held, scores = passed.held_out, calibrated.scores
    kept = held_out.collect(
        items.rows, items.roles, held, scores["semantic"], scores["domain"], items.seed
    )
    windows = window_reference.build(kept, items.vocab, items.seed)
    calibrating = [items.rows[row] for row in items.roles.calibrate.tolist()]
    return {
        "scores.npz": archive(fits.to_arrays()),
        "reference.npz": archive(
            {
                **calibrated.calibration.to_arrays(),
                "confidence": np.sort(calibrated.unsure),
                "class_counts": count_classes(held.logits[calibrated.places]),
                "temperature": np.array(calibrated.temperature),
                "embeddings": passed.embeddings,
                "embedding_rows": neighbours,
                **property_quantiles(calibrating),
            }
        ),
        held_out.FILE: kept.to_bytes(),
        window_reference.FILE: window_reference.to_bytes(windows),
    }


def _refuse_labels(rows: Sequence[ReferenceRow], vocab: Sequence[str]) -> None:
    unknown = [row.item for row in rows if not 0 <= row.label < len(vocab)]
    if unknown:
        raise ImportRefused(f"{unknown[0]} has a label outside the vocabulary of the model.")


def _cross(items: Items, head: Head, held: Forward, folds: int) -> cross_fits.CrossFits:
    places = items.roles.held_out.tolist()
    episodes = group([items.rows[place].episode for place in places])
    if not FEWEST_FOLDS <= folds <= MOST_FOLDS:
        raise ImportRefused(
            f"--cross-conformal {folds}: give {FEWEST_FOLDS} to {MOST_FOLDS} refits, such as 5."
        )
    if not items.split_known:
        raise ImportRefused(
            "--cross-conformal needs to know which items were held out: rows the network trained "
            "on may not calibrate. Import with the true split."
        )
    if len(episodes) >= FEWEST_CERTIFIED or len(episodes) < folds:
        few = "fewer than the refits" if len(episodes) < folds else "enough to calibrate without"
        raise ImportRefused(
            f"there are {len(episodes)} held-out episodes, {few}: --cross-conformal is for "
            f"folders with {folds} to {FEWEST_CERTIFIED - 1}, and gives up the certificate. Leave "
            "it out."
        )
    try:
        return cross_fits.fit_crosswise(
            items.trained,
            len(items.roles.train),
            held,
            np.array([items.rows[place].label for place in places], dtype=np.intp),
            episodes,
            folds=folds,
            weights=head.weights,
            bias=head.bias,
            members=head.members,
            seed=items.seed,
        )
    except DoesNotFit as reason:
        raise ImportRefused(f"a refit of the scores fails: {reason}. Use fewer refits.") from reason


def _sample_neighbours(
    train: npt.NDArray[np.intp], outputs: Iterable[Forward], seed: int
) -> npt.NDArray[np.intp]:
    width = next((batch.embedding.shape[1] for batch in outputs), 1)
    most = min(MOST_NEIGHBOURS, max(1, MOST_NEIGHBOUR_BYTES // (2 * width)))
    return np.random.default_rng([seed, 1]).permutation(train)[:most]


def _worth_showing(
    report: Report, rows: Sequence[ReferenceRow], neighbours: npt.NDArray[np.intp]
) -> list[int]:
    """Pick the rows that get a thumbnail: top losses, then items that can be nearest."""
    lost = {loss.item for loss in report.top_losses}
    first = [place for place, row in enumerate(rows) if row.item in lost]
    return list(dict.fromkeys(first + neighbours.tolist()))[:MOST_THUMBNAILS]
