"""How much accuracy a hundred reviews bring back, by the review queue and by chance.

A model of photos meets art paintings (PACS). Its answers are drawn and ordered as the product's
queue does (`monitor.review.sampling`), an oracle labels the items in that order, and after every
hundred the last layer is trained again on the photos and what was reviewed. Beside it the same
number of paintings is labelled at random. Accuracy is that on paintings neither has seen; on photos
it must not fall. The body is a frozen EfficientNet-Lite0, so that the comparison is of what was
reviewed, not of how long a network was trained.

Nothing about the queue was chosen by looking at this benchmark.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from benchmarks import accuracy_pictures
from benchmarks.accuracy_data import SEED, pacs
from benchmarks.report import Bar, Row, at_least, finish
from monitor.review.sampling import Facts, Rates, draw
from monitor.stats.accuracy.recorded import Labelled
from reference_data.conformal import combined
from reference_data.guarantee import choose_alpha

Indices = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]

EACH = 100
"""Reviews between two trainings."""
ROUNDS, QUICK_ROUNDS = 20, 5
STEPS = 4
FIELD = 600
"""Paintings that pass the model; the others judge."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pictures:
    """Embeddings and classes, and the model's first answers on paintings."""

    photos: Floats
    photo_labels: Indices
    paintings: Floats
    painting_labels: Indices
    answers: Labelled
    alpha: float


def main() -> None:
    """Review, train again, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--json", type=Path, help="where to write the result")
    parser.add_argument("--cache", type=Path, help="where to keep what the network makes of photos")
    options = parser.parse_args()
    data = Path(os.environ.get("FIELDWATCH_DATA", "../shared/data"))
    if not (data / "pacs").is_dir():
        say(f"{data / 'pacs'} is not there: set FIELDWATCH_DATA to a folder with PACS; nothing ran")
        finish("accuracy that reviews bring back", [], [], options.json)
        return
    say("two minutes on two free cores, and six more for photos that are not in --cache")
    pictures = read(data, options.cache)
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    found = [repeat(pictures, np.random.default_rng([SEED, 9, number])) for number in range(rounds)]
    rows, bars = compare(found)
    finish("accuracy on paintings after reviews: the queue beside chance", rows, bars, options.json)


def read(data: Path, cache: Path | None) -> Pictures:
    """Pass the pictures through the body, and score paintings as an import of the photos would."""
    kept = accuracy_pictures.photos(data / "pacs", cache, SEED)
    setting = pacs(data, cache)
    scale = float(kept.styles["photo"].embedding.std())
    return Pictures(
        photos=kept.styles["photo"].embedding.astype(np.float64) / scale,
        photo_labels=kept.labels["photo"],
        paintings=kept.styles["art_painting"].embedding.astype(np.float64) / scale,
        painting_labels=kept.labels["art_painting"],
        answers=setting.pools["art painting"],
        alpha=choose_alpha(len(setting.basis.reference)),
    )


def repeat(pictures: Pictures, rng: np.random.Generator) -> dict[str, list[tuple[float, float]]]:
    """Review in both orders; give accuracy on paintings and on photos after each step."""
    order = rng.permutation(len(pictures.paintings))
    field, judged = order[:FIELD], order[FIELD:]
    queue = in_queue_order(pictures, field, f"{rng.integers(2**62)}")
    return {
        "queue": _trained(pictures, queue, judged),
        "chance": _trained(pictures, rng.permutation(field), judged),
    }


def in_queue_order(pictures: Pictures, field: Indices, salt: str) -> Indices:
    """Order paintings as readers would get them; those not drawn come last, by chance."""
    rows = pictures.answers.rows
    p_value = combined(rows.p_semantic, rows.p_domain)
    keyed = []
    for place in field.tolist():
        confidence = float(rows.probabilities[place].max())
        facts = Facts(
            event_id=f"{salt}/{place}",
            prediction=str(rows.predicted[place]),
            confidence=confidence,
            flagged=bool(p_value[place] <= pictures.alpha),
            acted=False,
            decided=None,
        )
        drawn = draw(facts, Rates())
        keyed.append((0.0 if drawn is None else -drawn.priority, facts.event_id, place))
    return np.array([place for _, _, place in sorted(keyed)], dtype=np.intp)


def _trained(pictures: Pictures, reviewed: Indices, judged: Indices) -> list[tuple[float, float]]:
    count = len(pictures.photos)
    train, later = np.arange(int(0.4 * count)), np.arange(int(0.8 * count), count)
    found = []
    for step in range(STEPS + 1):
        taken = reviewed[: step * EACH]
        head = LogisticRegression(C=0.1, max_iter=300)
        head.fit(
            np.concatenate([pictures.photos[train], pictures.paintings[taken]]),
            np.concatenate([pictures.photo_labels[train], pictures.painting_labels[taken]]),
        )
        found.append(
            (
                head.score(pictures.paintings[judged], pictures.painting_labels[judged]),
                head.score(pictures.photos[later], pictures.photo_labels[later]),
            )
        )
    return found


def compare(
    found: Sequence[dict[str, list[tuple[float, float]]]],
) -> tuple[list[Row], list[Bar]]:
    """Tabulate means over repetitions, and the paired difference with its standard error."""
    queue, chance = (np.array([each[name] for each in found]) for name in ("queue", "chance"))
    rows: list[Row] = []
    for step in range(STEPS + 1):
        gain = queue[:, step, 0] - chance[:, step, 0]
        rows.append(
            {
                "reviews": step * EACH,
                "queue": float(queue[:, step, 0].mean()),
                "chance": float(chance[:, step, 0].mean()),
                "queue - chance": float(gain.mean()),
                "± s.e.": float(gain.std(ddof=1) / len(gain) ** 0.5),
                "per 100, queue": _per_hundred(queue, step),
                "per 100, chance": _per_hundred(chance, step),
                "photos, queue": float(queue[:, step, 1].mean()),
                "photos, chance": float(chance[:, step, 1].mean()),
            }
        )
    bars = [
        at_least(
            f"{step * EACH} reviews: queue against chance",
            float(queue[:, step, 0].mean()),
            float(chance[:, step, 0].mean()),
        )
        for step in range(1, STEPS + 1)
    ]
    return rows, bars


def _per_hundred(found: Floats, step: int) -> float | None:
    """Give the accuracy that the last hundred reviews brought."""
    return None if step == 0 else float((found[:, step, 0] - found[:, step - 1, 0]).mean())


def say(text: str) -> None:
    """Tell how far it is, on stderr."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
