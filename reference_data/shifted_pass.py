"""Put shifted pictures through the path that serves: decode, shift, prepare, predict, score."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from reference_data.corruptions.catalogue import SEVERITIES, STAND_INS, Shift, corrupt
from reference_data.errors import InputRejected
from reference_data.pictures import Picture
from reference_data.preprocess import UNLIMITED, Preprocessing, decode, prepare
from reference_data.properties import measure
from reference_data.scores.domain import DomainScore
from reference_data.scores.forward import Forward, concatenate, half
from reference_data.scores.semantic import SemanticScore
from reference_data.scoring import Network, Scorer
from reference_data.shifted import HEALTHY, NO_CLASS, Shifted

QUICK_PICTURES = 60
QUICK_SEVERITIES = (1, 3, 5)
QUICK_SECONDS = 60.0
"""After this long the quick pass begins no further picture, once it has `FEWEST`."""
FEWEST = 12
BATCH = 16
NOVEL = "novel"
"""Name of the shift whose pictures were given by the user: classes the model never saw."""

Grade = tuple[Shift | None, int]
"""A shift and its severity; (None, 0) leaves the picture as it is."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForwardPath:
    """The forward path of a bundle, or of one about to be written."""

    network: Network
    semantic: SemanticScore
    domain: DomainScore
    preprocessing: Preprocessing

    @classmethod
    def of(cls, scorer: Scorer) -> "ForwardPath":
        """Take the path of an opened bundle."""
        return cls(
            network=scorer.network,
            semantic=scorer.semantic,
            domain=scorer.domain,
            preprocessing=scorer.bundle.manifest.preprocessing,
        )


def grades(severities: Sequence[int] = SEVERITIES) -> list[Grade]:
    """List every shift at these severities, the unshifted picture first."""
    return [(None, 0), *((shift, severity) for shift in Shift for severity in severities)]


def run(
    path: ForwardPath,
    pictures: Sequence[Picture],
    wanted: Sequence[Grade],
    *,
    seed: int,
    advance: Callable[[int], None],
    seconds: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Shifted | None:
    """Pass every picture under every grade; None when no picture could be read.

    Parameters
    ----------
    pictures
        In order of preference: a pass that runs out of time leaves out the last.
    seed
        Decides the random parts of the shifts.
    advance
        Told the number of passes just done.
    seconds
        Budget; the least there is are `FEWEST` pictures.
    clock
        Tells seconds.
    """
    begun = clock()
    parts: list[Shifted] = []
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for done, picture in enumerate(pictures):
            if seconds is not None and done >= FEWEST and clock() - begun > seconds:
                advance((len(pictures) - done) * len(wanted))
                break
            parts += _one(path, picture, wanted, seed, pool)
            advance(len(wanted))
    return _gather(parts) if parts else None


def run_novel(
    path: ForwardPath, pictures: Sequence[Picture], advance: Callable[[int], None]
) -> Shifted | None:
    """Pass pictures of things the model never saw, as they are; None when none can be read."""
    passed = run(path, pictures, [(None, 0)], seed=0, advance=advance)
    if passed is None:
        return None
    nothing = np.full(len(passed), NO_CLASS, dtype=np.intp)
    return replace(passed, shift=np.full(len(passed), NOVEL), labels=nothing)


def _one(
    path: ForwardPath,
    picture: Picture,
    wanted: Sequence[Grade],
    seed: int,
    pool: ThreadPoolExecutor,
) -> Iterator[Shifted]:
    try:
        decoded = decode(picture.data, path.preprocessing, UNLIMITED)
        shifted = list(pool.map(lambda grade: _shift(decoded, grade, seed, picture.item), wanted))
        tensors = np.stack([prepare(each, path.preprocessing) for each in shifted])
    except InputRejected:
        return
    outputs = concatenate(
        [path.network.forward(tensors[k : k + BATCH]) for k in range(0, len(tensors), BATCH)]
    )
    finite = np.flatnonzero(outputs.finite())
    if not len(finite):
        return
    measured = [measure(shifted[place], len(picture.data)) for place in finite.tolist()]
    yield _passes(
        path, picture, [wanted[k] for k in finite.tolist()], outputs.take(finite), measured
    )


def _shift(picture: Image.Image, grade: Grade, seed: int, item: str) -> Image.Image:
    shift, severity = grade
    return picture if shift is None else corrupt(picture, shift, severity, seed=seed, item=item)


def _passes(
    path: ForwardPath,
    picture: Picture,
    wanted: Sequence[Grade],
    outputs: Forward,
    measured: Sequence[dict[str, float]],
) -> Shifted:
    labels = [NO_CLASS if shift in STAND_INS else picture.label for shift, _ in wanted]
    return Shifted(
        rows=np.full(len(wanted), picture.row, dtype=np.intp),
        shift=np.array([HEALTHY if shift is None else shift.value for shift, _ in wanted]),
        severity=np.array([severity for _, severity in wanted], dtype=np.intp),
        labels=np.array(labels, dtype=np.intp),
        logits=outputs.logits,
        embedding=half(outputs.embedding),
        semantic=path.semantic.score(outputs),
        domain=path.domain.score(outputs.mid),
        properties={
            name: np.array([each[name] for each in measured], dtype=np.float64)
            for name in measured[0]
        },
    )


def _gather(parts: Sequence[Shifted]) -> Shifted:
    names = set.intersection(*(set(part.properties) for part in parts))

    def together(field: str) -> npt.NDArray[np.generic]:
        return np.concatenate([getattr(part, field) for part in parts])

    return Shifted(
        rows=together("rows").astype(np.intp),
        shift=together("shift").astype(np.str_),
        severity=together("severity").astype(np.intp),
        labels=together("labels").astype(np.intp),
        logits=together("logits").astype(np.float32),
        embedding=together("embedding").astype(np.float16),
        semantic=together("semantic").astype(np.float64),
        domain=together("domain").astype(np.float64),
        properties={
            name: np.concatenate([part.properties[name] for part in parts])
            for name in sorted(names)
        },
    )
