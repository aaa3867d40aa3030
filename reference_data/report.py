"""What an import tells about the model and its reference."""

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from reference_data.accuracy import TopLoss, confusion_matrix, top_losses
from reference_data.guarantee import Guarantee
from reference_data.roles import ReferenceRow, Roles
from reference_data.scores.semantic import SemanticScore

MOST_TOP_LOSSES = 50


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


def make_report(
    rows: Sequence[ReferenceRow],
    roles: Roles,
    *,
    vocab: Sequence[str],
    held_out_logits: npt.NDArray[np.float32],
    predictions: npt.NDArray[np.intp],
    labels: npt.NDArray[np.intp],
    flagged: npt.NDArray[np.bool_],
    temperature: float,
    semantic: SemanticScore,
    guarantee: Guarantee,
) -> Report:
    """Summarise; `predictions`, `labels` and `flagged` are those of all rows."""
    held = roles.held_out
    right = predictions == labels
    confusion = confusion_matrix(labels[held], predictions[held], len(vocab))
    return Report(
        vocab=tuple(vocab),
        guarantee=guarantee.sentence,
        flag_rate_low=guarantee.flag_rate_low,
        flag_rate_high=guarantee.flag_rate_high,
        held_out_rows=len(held),
        accuracy=_share(right[held]),
        estimate_rows=len(roles.estimate),
        estimate_accuracy=_share(right[roles.estimate]),
        estimate_flagged=int(flagged[roles.estimate].sum()),
        confusion=tuple(tuple(line) for line in confusion.tolist()),
        top_losses=top_losses(
            [rows[row].item for row in held.tolist()],
            held_out_logits,
            labels[held],
            vocab,
            MOST_TOP_LOSSES,
        ),
        temperature=temperature,
        members=tuple(str(member) for member in semantic.members),
        switched_off={str(name): why for name, why in semantic.switched_off.items()},
        notes=_notes(rows, labels[roles.train], vocab),
    )


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
