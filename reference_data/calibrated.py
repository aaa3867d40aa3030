"""What the held-out rows make of fitted scores: p-values, a threshold, and what it promises."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from reference_data.accuracy import fit_temperature
from reference_data.bundle import CalibrationSize
from reference_data.calibration_size import CalibrationRows, calibration_size
from reference_data.conformal import unsureness
from reference_data.cross_fits import CrossFits
from reference_data.fits import Fits, Items
from reference_data.guarantee import Guarantee, choose_alpha, state_guarantee, weaken
from reference_data.judgement import Calibration
from reference_data.roles import ReferenceRow, Roles
from reference_data.scores.forward import Forward, softmax


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibrated:
    """What the held-out rows make of the scores."""

    scores: Mapping[str, npt.NDArray[np.float64]]
    """Semantic and domain score of every held-out row."""
    places: npt.NDArray[np.intp]
    """Of the calibrating rows, among the held-out ones."""
    calibration: Calibration
    unsure: npt.NDArray[np.float64]
    """Unsureness of the calibrating rows."""
    temperature: float
    size: CalibrationSize | None
    alpha: float
    guarantee: Guarantee

    def weakened(self, crossed: CrossFits) -> "Calibrated":
        """State what cross-conformal p-values leave of the guarantee."""
        guarantee = weaken(self.guarantee, crossed.n, len(crossed.folds), self.alpha)
        return replace(self, guarantee=guarantee)


def calibrate(items: Items, fits: Fits, held: Forward, alpha: float | None) -> Calibrated:
    """Calibrate the scores on the rows set aside for it.

    Parameters
    ----------
    items
        All rows.
    fits
        Their scores.
    held
        Forward passes over the held-out rows, in the order of `items.roles.held_out`.
    alpha
        Flagging threshold; by default the strictest that the calibrating rows can resolve.
    """
    roles = items.roles
    scores = {"semantic": fits.semantic.score(held), "domain": fits.domain.score(held.mid)}
    temper, places = items.among_held_out(roles.temperature), items.among_held_out(roles.spread)
    ranked = {name: values[places] for name, values in scores.items()}
    calibration = Calibration.of(ranked["semantic"], ranked["domain"], fits.joint)
    ranked["joint"] = fits.joint.score(ranked["semantic"], ranked["domain"])
    unsure = unsureness(softmax(held.logits[places]).max(axis=1))
    size = _size(items.rows, roles, {**ranked, "confidence": unsure}, held, alpha)
    effective = len(roles.calibrate) if size is None else int(size.smallest)
    threshold = choose_alpha(effective) if alpha is None else alpha
    return Calibrated(
        scores=scores,
        places=places,
        calibration=calibration,
        unsure=unsure,
        temperature=fit_temperature(held.logits[temper], items.labels[roles.temperature]),
        size=size,
        alpha=threshold,
        guarantee=state_guarantee(effective, threshold, split_known=items.split_known, size=size),
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
