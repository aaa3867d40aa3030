"""Build the reference: what training looked like, calibrated on rows held out from it.

Fits the out-of-domain scores on training rows, divides held-out episodes into temperature,
calibrate and estimate, calibrates, and writes down what the monitor will compare the field with.
The numbers are those of `reference_data.scoring`'s forward pass, the one that serves.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
from PIL import Image

from reference_data import cross_fits, held_out, window_reference
from reference_data.accuracy import fit_temperature
from reference_data.bundle import CalibrationSize, Counts
from reference_data.calibration import archive, count_classes, property_quantiles
from reference_data.calibration_size import CalibrationRows, calibration_size
from reference_data.conformal import unsureness
from reference_data.cross_conformal import FEWEST_FOLDS, MOST_FOLDS
from reference_data.division import group
from reference_data.errors import ImportRefused
from reference_data.guarantee import FEWEST_CERTIFIED, choose_alpha, state_guarantee, weaken
from reference_data.judgement import JOINT, Calibration
from reference_data.reference_tables import ItemColumns, item_table, thumbnail_table
from reference_data.report import Report, make_report
from reference_data.roles import ReferenceRow, Roles, assign_roles
from reference_data.row_pass import Rows, run_through
from reference_data.scores.domain import DomainScore
from reference_data.scores.forward import Forward, softmax
from reference_data.scores.joint import JointScore
from reference_data.scores.member import DEFAULT, Member
from reference_data.scores.semantic import SemanticScore
from reference_data.scores.shrinkage import DoesNotFit
from reference_data.scores.training import Training

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
    labels = np.array([row.label for row in rows], dtype=np.intp)
    roles = assign_roles(rows, seed, split_known=split_known)
    neighbours = _sample_neighbours(roles.train, outputs, seed)
    passed = run_through(rows, outputs, held_out=roles.held_out, embeddings_of=neighbours)
    training = Training.gather(
        Rows(outputs=outputs, labels=labels, places=roles.train),
        len(roles.train),
        weights,
        bias,
        raw=Member.VIM in members,
        seed=seed,
    )
    semantic, domain, joining = _fit(training, members)
    held = passed.held_out
    scores = {"semantic": semantic.score(held), "domain": domain.score(held.mid)}
    temper, calibrate = (
        np.searchsorted(roles.held_out, part) for part in (roles.temperature, roles.spread)
    )
    calibration = Calibration.of(
        scores["semantic"][calibrate], scores["domain"][calibrate], joining
    )
    unsure = unsureness(softmax(held.logits[calibrate]).max(axis=1))
    temperature = fit_temperature(held.logits[temper], labels[roles.temperature])
    ranked = {name: values[calibrate] for name, values in scores.items()}
    ranked["joint"] = joining.score(ranked["semantic"], ranked["domain"])
    size = _size(rows, roles, {**ranked, "confidence": unsure}, held, alpha)
    effective = len(roles.calibrate) if size is None else int(size.smallest)
    threshold = choose_alpha(effective) if alpha is None else alpha
    guarantee = state_guarantee(effective, threshold, split_known=split_known, size=size)
    crossed = None
    if cross_folds is not None:
        crossed = _cross(
            rows,
            roles,
            Rows(outputs=outputs, labels=labels, places=roles.train),
            held,
            cross_folds,
            weights=weights,
            bias=bias,
            members=members,
            seed=seed,
            split_known=split_known,
        )
        guarantee = weaken(guarantee, crossed.n, len(crossed.folds), threshold)
    columns = ItemColumns.judge(
        rows=[(row.item, vocab[row.label], row.episode) for row in rows],
        roles=roles.names(len(rows)),
        predictions=[vocab[index] for index in passed.predictions.tolist()],
        confidence=passed.confidence,
        loss=passed.loss,
        scores={name: np.delete(values, calibrate) for name, values in scores.items()},
        calibration=calibration,
        judged=np.delete(roles.held_out, calibrate),
        seed=seed,
    )
    report = make_report(
        rows,
        roles,
        vocab=vocab,
        held_out_logits=held.logits,
        predictions=passed.predictions,
        labels=labels,
        flagged=columns.p_value <= threshold,
        temperature=temperature,
        semantic=semantic,
        guarantee=guarantee,
    )
    shown = _worth_showing(report, rows, neighbours) if picture else []
    kept = held_out.collect(rows, roles, held, scores["semantic"], scores["domain"], seed)
    files = {
        "scores.npz": archive(
            {f"semantic.{name}": array for name, array in semantic.to_arrays().items()}
            | {f"domain.{name}": array for name, array in domain.to_arrays().items()}
            | {f"{JOINT}{name}": array for name, array in joining.to_arrays().items()}
        ),
        "reference.npz": archive(
            {
                **calibration.to_arrays(),
                "confidence": np.sort(unsure),
                "class_counts": count_classes(held.logits[calibrate]),
                "temperature": np.array(temperature),
                "embeddings": passed.embeddings,
                "embedding_rows": neighbours,
                **property_quantiles([rows[row] for row in roles.calibrate.tolist()]),
            }
        ),
        held_out.FILE: kept.to_bytes(),
        window_reference.FILE: window_reference.to_bytes(window_reference.build(kept, vocab, seed)),
        "reference.parquet": item_table(columns),
        "thumbnails.parquet": thumbnail_table(shown, picture, advance),
        "report.json": msgspec.json.format(msgspec.json.encode(report), indent=2),
    }
    if crossed is not None:
        files[cross_fits.FILE] = crossed.to_bytes()
    return ReferenceFiles(
        files=files,
        alpha=threshold,
        certified=guarantee.certified,
        certified_reason=guarantee.reason,
        counts=roles.counts,
        calibration=size,
        report=report,
    )


def _size(
    rows: Sequence[ReferenceRow],
    roles: Roles,
    scores: Mapping[str, npt.NDArray[np.float64]],
    held: Forward,
    alpha: float | None,
) -> CalibrationSize | None:
    """Measure what the calibration rows are worth."""
    if roles.frames == 1:
        return None
    numbers: dict[str, int] = {}
    calibrating = [rows[place] for place in roles.spread.tolist()]
    names = {name for row in calibrating for name in row.properties}
    return calibration_size(
        CalibrationRows(
            episodes=np.array(
                [numbers.setdefault(row.episode, len(numbers)) for row in calibrating], np.int64
            ),
            frames=roles.frames,
            scores=scores,
            predictions=held.logits[np.searchsorted(roles.held_out, roles.spread)].argmax(axis=1),
            properties={
                name: np.array([row.properties.get(name, np.nan) for row in calibrating])
                for name in sorted(names)
            },
        ),
        alpha,
    )


def _refuse_labels(rows: Sequence[ReferenceRow], vocab: Sequence[str]) -> None:
    unknown = [row.item for row in rows if not 0 <= row.label < len(vocab)]
    if unknown:
        raise ImportRefused(f"{unknown[0]} has a label outside the vocabulary of the model.")


def _fit(
    training: Training, members: Sequence[Member]
) -> tuple[SemanticScore, DomainScore, JointScore]:
    try:
        semantic, domain = SemanticScore.fit(training, members=members), DomainScore.fit(training)
        return semantic, domain, JointScore.fit(training, semantic, domain)
    except DoesNotFit as reason:
        raise ImportRefused(
            f"no out-of-domain score fits this model and its {training.n} training items: "
            f"{reason}. Check that the items differ and that --mid-layer names a layer that sees "
            "the picture."
        ) from reason


def _cross(
    rows: Sequence[ReferenceRow],
    roles: Roles,
    trained: Rows,
    held_out_rows: Forward,
    folds: int,
    *,
    weights: npt.NDArray[np.float32] | None,
    bias: npt.NDArray[np.float32] | None,
    members: Sequence[Member],
    seed: int,
    split_known: bool,
) -> cross_fits.CrossFits:
    places = roles.held_out.tolist()
    episodes = group([rows[place].episode for place in places])
    if not FEWEST_FOLDS <= folds <= MOST_FOLDS:
        raise ImportRefused(
            f"--cross-conformal {folds}: give {FEWEST_FOLDS} to {MOST_FOLDS} refits, such as 5."
        )
    if not split_known:
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
            trained,
            len(roles.train),
            held_out_rows,
            np.array([rows[place].label for place in places], dtype=np.intp),
            episodes,
            folds=folds,
            weights=weights,
            bias=bias,
            members=members,
            seed=seed,
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
