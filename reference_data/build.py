"""Build the reference: what training looked like, calibrated on rows held out from it.

Fits the out-of-domain scores on training rows, divides held-out episodes into temperature,
calibrate and estimate, calibrates, and writes down what the monitor will compare the field with.
The numbers are those of `reference_data.scoring`'s forward pass, the one that serves.
"""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
from PIL import Image

from reference_data.accuracy import TopLoss, confusion_matrix, fit_temperature, top_losses
from reference_data.bundle import Counts
from reference_data.division import divide, group
from reference_data.errors import ImportRefused
from reference_data.guarantee import choose_alpha, state_guarantee
from reference_data.reference_tables import ItemColumns, item_table, thumbnail_table
from reference_data.scores.domain import DomainScore
from reference_data.scores.forward import Forward, concatenate, softmax
from reference_data.scores.semantic import Member, SemanticScore
from reference_data.scores.shrinkage import DoesNotFit
from reference_data.scoring import half

MOST_NEIGHBOURS = 50_000
MOST_NEIGHBOUR_BYTES = 64 * 1024 * 1024
"""Embeddings kept to find the training items nearest to an input."""
MOST_THUMBNAILS = 2_000
MOST_TOP_LOSSES = 50
QUANTILES = 101
_PSEUDO_HELD_OUT = 0.3
"""Share of episodes set aside when the true split is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceRow:
    """One item of the imported data, in the order of the table."""

    item: str
    """Its path as imported."""
    label: int
    """Index of its true class in the vocabulary."""
    held_out: bool
    """Whether the model was not trained on it; disregarded when the split is unknown."""
    episode: str
    properties: Mapping[str, float]
    """As `reference_data.properties.measure` gives them."""


class Report(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an import tells about the model and its reference; ``report.json`` of the bundle."""

    vocab: tuple[str, ...]
    guarantee: str
    """How many healthy inputs will be flagged and whether alarms are certified, in words."""
    flag_rate_low: float
    flag_rate_high: float
    held_out_rows: int
    accuracy: float | None
    """Share of held-out rows predicted right; None without such rows."""
    estimate_rows: int
    estimate_accuracy: float | None
    estimate_flagged: int
    """Rows flagged among `estimate_rows`, which nothing was fitted or calibrated on."""
    confusion: tuple[tuple[int, ...], ...]
    """Held-out rows by true class (rows) and predicted class (columns)."""
    top_losses: tuple[TopLoss, ...]
    temperature: float
    members: tuple[str, ...]
    """Scores that make up the semantic score."""
    switched_off: dict[str, str]
    """Scores that do not fit this model, with the reason."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceFiles:
    """Everything the reference adds to a bundle."""

    files: dict[str, bytes]
    """scores.npz, reference.npz, reference.parquet, thumbnails.parquet and report.json."""
    alpha: float
    certified: bool
    certified_reason: str
    counts: Counts
    report: Report


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Roles:
    """Which rows serve what."""

    train: npt.NDArray[np.intp]
    held_out: npt.NDArray[np.intp]
    temperature: npt.NDArray[np.intp]
    calibrate: npt.NDArray[np.intp]
    """The first row of each calibrating episode: later frames would repeat it."""
    estimate: npt.NDArray[np.intp]
    counts: Counts


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
    members: Sequence[Member] = tuple(Member),
    advance: Callable[[int], None] = lambda _count: None,
) -> ReferenceFiles:
    """Fit, divide, calibrate and summarise.

    Parameters
    ----------
    rows
        All items, training and held-out.
    outputs
        Forward passes over the same rows in the same order, cut into batches at will.
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
    members
        Scores to combine into the semantic score.
    advance
        Told the number of thumbnails made since the last call.

    Raises
    ------
    ImportRefused
        If the rows cannot make a reference; the message says which and what to do.
    """
    passed = concatenate(list(outputs))
    _check(rows, passed, vocab)
    labels = np.array([row.label for row in rows], dtype=np.intp)
    roles = _divide(rows, seed, split_known)
    semantic, domain = _fit(passed.take(roles.train), labels[roles.train], weights, members)
    scores = {
        "semantic": semantic.score(passed),
        "domain": domain.score(passed.mid),
        "confidence": -softmax(passed.logits).max(axis=1).astype(np.float64),
    }
    calibration = {name: np.sort(values[roles.calibrate]) for name, values in scores.items()}
    predictions = passed.logits.argmax(axis=1)
    temperature = fit_temperature(passed.logits[roles.temperature], labels[roles.temperature])
    threshold = choose_alpha(len(roles.calibrate)) if alpha is None else alpha
    columns = ItemColumns.judge(
        rows=[(row.item, vocab[row.label], row.episode) for row in rows],
        roles=_role_names(len(rows), roles),
        predictions=[vocab[index] for index in predictions.tolist()],
        logits=passed.logits,
        labels=labels,
        scores=scores,
        calibration=calibration,
        judged=np.setdiff1d(roles.held_out, roles.calibrate),
        seed=seed,
    )
    guarantee = state_guarantee(len(roles.calibrate), threshold, split_known=split_known)
    right = predictions == labels
    held = roles.held_out
    report = Report(
        vocab=tuple(vocab),
        guarantee=guarantee.sentence,
        flag_rate_low=guarantee.flag_rate_low,
        flag_rate_high=guarantee.flag_rate_high,
        held_out_rows=len(held),
        accuracy=_share(right[held]),
        estimate_rows=len(roles.estimate),
        estimate_accuracy=_share(right[roles.estimate]),
        estimate_flagged=int((columns.p_value[roles.estimate] <= threshold).sum()),
        confusion=tuple(
            tuple(line)
            for line in confusion_matrix(labels[held], predictions[held], len(vocab)).tolist()
        ),
        top_losses=top_losses(
            [rows[row].item for row in held.tolist()],
            passed.logits[held],
            labels[held],
            vocab,
            MOST_TOP_LOSSES,
        ),
        temperature=temperature,
        members=tuple(str(member) for member in semantic.members),
        switched_off=dict(semantic.switched_off),
        notes=_notes(rows, labels[roles.train], vocab),
    )
    neighbours = _sample_neighbours(roles.train, passed.embedding.shape[1], seed)
    names, quantiles = _property_quantiles([rows[row] for row in roles.calibrate.tolist()])
    files = {
        "scores.npz": _archive(
            {f"semantic.{name}": array for name, array in semantic.to_arrays().items()}
            | {f"domain.{name}": array for name, array in domain.to_arrays().items()}
        ),
        "reference.npz": _archive(
            calibration
            | {
                "class_counts": np.bincount(predictions[roles.calibrate], minlength=len(vocab)),
                "temperature": np.float64(temperature),
                "embeddings": half(passed.embedding[neighbours]),
                "rows": neighbours,
                "property_names": names,
                "property_quantiles": quantiles,
            }
        ),
        "reference.parquet": item_table(columns),
        "thumbnails.parquet": thumbnail_table(
            _worth_showing(report, rows, neighbours) if picture else [], picture, advance
        ),
        "report.json": msgspec.json.format(msgspec.json.encode(report), indent=2),
    }
    return ReferenceFiles(
        files=files,
        alpha=threshold,
        certified=guarantee.certified,
        certified_reason=guarantee.reason,
        counts=roles.counts,
        report=report,
    )


def _check(rows: Sequence[ReferenceRow], passed: Forward, vocab: Sequence[str]) -> None:
    if len(rows) != len(passed):
        raise ImportRefused(
            f"there are {len(rows)} items but {len(passed)} forward passes: the data changed while "
            "it was imported. Import again."
        )
    broken = np.flatnonzero(~passed.finite()).tolist()
    if broken:
        named = ", ".join(rows[row].item for row in broken[:5])
        raise ImportRefused(
            f"the model's outputs are not finite for {len(broken)} items, among them {named}. "
            "Mend the model or leave these items out."
        )
    unknown = [row.item for row in rows if not 0 <= row.label < len(vocab)]
    if unknown:
        raise ImportRefused(f"{unknown[0]} has a label outside the vocabulary of the model.")
    straddling = {row.episode for row in rows if row.held_out} & {
        row.episode for row in rows if not row.held_out
    }
    if straddling:
        raise ImportRefused(
            f"episode {min(straddling)} is both in training and held out ({len(straddling)} such "
            "episodes): its frames resemble each other, so nothing could be calibrated. Split by "
            "episode."
        )


def _divide(rows: Sequence[ReferenceRow], seed: int, split_known: bool) -> _Roles:
    whole = group([row.episode for row in rows])
    if split_known:
        held = [places for places in whole if rows[places[0]].held_out]
        train = [places for places in whole if not rows[places[0]].held_out]
        if not held or not train:
            missing = "held-out" if not held else "training"
            raise ImportRefused(
                f"there are no {missing} items. Both are needed: scores are fitted on training "
                "items and calibrated on held-out ones."
            )
    else:
        shuffled = np.random.default_rng(seed).permutation(len(whole)).tolist()
        aside = int(len(whole) * _PSEUDO_HELD_OUT)
        held = [whole[place] for place in sorted(shuffled[:aside])]
        train = [whole[place] for place in sorted(shuffled[aside:])]
        if not held:
            raise ImportRefused(f"{len(whole)} episodes are too few to make a reference of.")
    division = divide(len(held), seed)
    parts = (division.temperature, division.calibrate, division.estimate)
    temperature, calibrate, estimate = ([held[place] for place in part.tolist()] for part in parts)
    trained = _flat(train)
    return _Roles(
        train=trained,
        held_out=_flat(held),
        temperature=_flat(temperature),
        calibrate=np.array([places[0] for places in calibrate], dtype=np.intp),
        estimate=_flat(estimate),
        counts=Counts(
            train=len(trained),
            temperature=len(temperature),
            calibrate=len(calibrate),
            estimate=len(estimate),
        ),
    )


def _flat(episodes: Sequence[Sequence[int]]) -> npt.NDArray[np.intp]:
    return np.array(sorted(place for places in episodes for place in places), dtype=np.intp)


def _fit(
    train: Forward,
    labels: npt.NDArray[np.intp],
    weights: npt.NDArray[np.float32] | None,
    members: Sequence[Member],
) -> tuple[SemanticScore, DomainScore]:
    try:
        return (
            SemanticScore.fit(train, labels, weights, members=members),
            DomainScore.fit(train.mid),
        )
    except DoesNotFit as reason:
        raise ImportRefused(
            f"no out-of-domain score fits this model and its {len(labels)} training items: "
            f"{reason}. Check that the items differ and that --mid-layer names a layer that sees "
            "the picture."
        ) from reason


def _role_names(n: int, roles: _Roles) -> list[str]:
    names = np.full(n, "repeat", dtype=object)
    names[roles.train] = "train"
    names[roles.temperature] = "temperature"
    names[roles.calibrate] = "calibrate"
    names[roles.estimate] = "estimate"
    return [str(name) for name in names]


def _share(right: npt.NDArray[np.bool_]) -> float | None:
    return float(right.mean()) if len(right) else None


def _notes(
    rows: Sequence[ReferenceRow], trained: npt.NDArray[np.intp], vocab: Sequence[str]
) -> tuple[str, ...]:
    seen = set(trained.tolist())
    absent = [name for index, name in enumerate(vocab) if index not in seen]
    notes = []
    if absent:
        notes.append(
            f"no training items of {', '.join(absent)}: inputs of these classes will look unusual"
        )
    if len({row.episode for row in rows}) == len(rows):
        notes.append("every item was taken as an episode of its own")
    return tuple(notes)


def _sample_neighbours(train: npt.NDArray[np.intp], width: int, seed: int) -> npt.NDArray[np.intp]:
    most = min(MOST_NEIGHBOURS, max(1, MOST_NEIGHBOUR_BYTES // (2 * width)))
    return np.random.default_rng([seed, 1]).permutation(train)[:most]


def _worth_showing(
    report: Report, rows: Sequence[ReferenceRow], neighbours: npt.NDArray[np.intp]
) -> list[int]:
    """Pick the rows that get a thumbnail: top losses, then items that can be nearest."""
    lost = {loss.item for loss in report.top_losses}
    first = [place for place, row in enumerate(rows) if row.item in lost]
    return list(dict.fromkeys(first + neighbours.tolist()))[:MOST_THUMBNAILS]


def _property_quantiles(
    rows: Sequence[ReferenceRow],
) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.float64]]:
    """Take the quantiles of each property at 0, .01 … 1, [property, 101]."""
    shared = set.intersection(*(set(row.properties) for row in rows)) if rows else set()
    names = sorted(shared)
    values = np.array([[row.properties[name] for row in rows] for name in names], dtype=np.float64)
    grid = np.linspace(0, 1, QUANTILES)
    quantiles = np.quantile(values, grid, axis=1).T if names else np.zeros((0, QUANTILES))
    return np.array(names, dtype=np.str_), quantiles


def _archive(arrays: Mapping[str, npt.NDArray[np.generic] | np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{name: np.asarray(a) for name, a in arrays.items()})
    return buffer.getvalue()
