"""Write what readers settled as a table the next training run can load in one line.

``labels.csv`` has the columns path, label, is_valid, source and decided_by; ``excluded.csv`` names
what is to be left out, and why. Pictures of the field are copied beside them; items of the
training data keep their own place.
"""

import csv
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from monitor.errors import NotFound, OptionInvalid
from monitor.review.item import Action, ItemState, Origin, Purpose, Reading, ReviewItem, purpose_of
from monitor.review.resolution import standing
from monitor.services.context import Context
from monitor.services.review.import_reference import VALID, reference_rows, split_of
from monitor.store.bundles import Bundles
from monitor.store.engine import reading
from monitor.store.payloads import Payloads
from monitor.store.review_items import ReviewItems, Wanted
from monitor.store.review_readings import ReviewReadings
from monitor.store.routes import Routes

COLUMNS = ("path", "label", "is_valid", "source", "decided_by")
EXCLUDED = ("path", "label", "action", "source", "decided_by")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportWish:
    """What is to be written, and where."""

    model: str
    out: Path
    data: Path | None = None
    """Folder of the training data; None leaves training items that nobody changed out."""
    valid_share: float = 0.2
    """Share of the field's units whose pictures validate; whole units, so that none leak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written."""

    table: Path
    rows: int
    from_field: int
    relabelled: int
    confirmed: int
    excluded: int
    without_picture: tuple[str, ...]
    """Settled events whose picture was never kept or is gone: they cannot be trained on."""
    open: int
    """Items that still wait for readers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    path: str
    label: str
    is_valid: bool
    source: str
    decided_by: str


def export(context: Context, wish: ExportWish) -> Exported:
    """Write the tables and copy the pictures.

    Raises
    ------
    NotFound
        If the model is not routed.
    OptionInvalid
        If the folder to write into is not empty, or the training data are not there.
    """
    _check(wish)
    settled, readers, waiting = _load(context, wish.model)
    changed = {item.new.subject: item for item in settled if item.new.origin is Origin.REFERENCE}
    try:
        wish.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionInvalid(
            "--out", str(wish.out), f"no folder can be made there ({error.strerror})"
        ) from error
    lost: list[str] = []
    lines = [
        *_training(context, wish, changed, readers),
        *_field(context, wish, settled, readers, lost),
    ]
    table = wish.out / "labels.csv"
    _write(table, COLUMNS, (_cells(line) for line in lines))
    left_out = [item for item in settled if item.truth is None]
    _write(
        wish.out / "excluded.csv",
        EXCLUDED,
        (
            (
                item.new.subject,
                item.new.label or item.new.prediction or "",
                "" if item.action is None else item.action.value,
                item.new.origin.value,
                readers.get(item.id, ""),
            )
            for item in left_out
        ),
    )
    return Exported(
        table=table,
        rows=len(lines),
        from_field=sum(line.source == Origin.PRODUCTION for line in lines),
        relabelled=sum(item.action is Action.RELABEL for item in settled),
        confirmed=sum(item.action is Action.KEEP for item in settled),
        excluded=len(left_out),
        without_picture=tuple(lost),
        open=waiting,
    )


def _check(wish: ExportWish) -> None:
    if wish.out.exists() and (not wish.out.is_dir() or any(wish.out.iterdir())):
        raise OptionInvalid("--out", str(wish.out), "name a new or an empty folder")
    if wish.data is not None and not wish.data.is_dir():
        raise OptionInvalid("--data", str(wish.data), "it is no folder")
    if not 0 <= wish.valid_share < 1:
        raise OptionInvalid("--valid-share", str(wish.valid_share), "it is at least 0 and below 1")


def _load(context: Context, model: str) -> tuple[list[ReviewItem], dict[str, str], int]:
    with reading(context.engine) as conn:
        if model not in Routes(conn).current():
            raise NotFound("model", model, "`fieldwatch status` lists the models.")
        items = ReviewItems(conn)
        found = items.find(Wanted(model=model, states=(ItemState.DONE,)))
        waiting = len(
            items.find(Wanted(model=model, states=(ItemState.OPEN, ItemState.CONFLICTING)))
        )
        said = ReviewReadings(conn).of_items([item.id for item in found])
    readers = {item_id: _names(readings) for item_id, readings in said.items()}
    # An adjudicated subject has two settled items of one mind; gold measures readers, not data.
    best: dict[tuple[Origin, str], ReviewItem] = {}
    for item in found:
        purpose = purpose_of(item.new.reason)
        subject = (item.new.origin, item.new.subject)
        if purpose is not Purpose.GOLD and (subject not in best or purpose is Purpose.ADJUDICATION):
            best[subject] = item
    return sorted(best.values(), key=lambda item: item.id), readers, waiting


def _names(readings: Sequence[Reading]) -> str:
    return " ".join(sorted({each.reviewer for each in standing(readings)}))


def _training(
    context: Context,
    wish: ExportWish,
    changed: dict[str, ReviewItem],
    readers: dict[str, str],
) -> Iterator[_Line]:
    """Give the training items: all that stay, when their folder is known, else the changed."""
    with reading(context.engine) as conn:
        registered = Bundles(conn).trusted(Routes(conn).current()[wish.model].bundle_sha)
    for row in reference_rows(context.references.open(registered)):
        item = changed.get(row["path"])
        if item is None and wish.data is None:
            continue
        label = row["label"] if item is None else item.truth
        if label is None:
            continue
        yield _Line(
            path=row["path"]
            if wish.data is None
            else _seen_from(wish.out, wish.data / row["path"]),
            label=label,
            is_valid=split_of(row) == VALID,
            source=Origin.REFERENCE.value,
            decided_by="" if item is None else readers.get(item.id, ""),
        )


def _field(
    context: Context,
    wish: ExportWish,
    settled: Iterable[ReviewItem],
    readers: dict[str, str],
    lost: list[str],
) -> Iterator[_Line]:
    payloads = Payloads(context.settings.store.payloads)
    folder = wish.out / "field"
    for item in settled:
        if item.new.origin is not Origin.PRODUCTION or item.truth is None:
            continue
        jpeg = payloads.get(item.new.picture)
        if jpeg is None:
            lost.append(item.new.subject)
            continue
        folder.mkdir(exist_ok=True)
        place = folder / f"{item.new.subject}.jpg"
        place.write_bytes(jpeg)
        yield _Line(
            path=place.relative_to(wish.out).as_posix(),
            label=item.truth,
            is_valid=_validates(item.new.unit or item.new.subject, wish.valid_share),
            source=Origin.PRODUCTION.value,
            decided_by=readers.get(item.id, ""),
        )


def _seen_from(folder: Path, file: Path) -> str:
    """Write a path as fastai joins it: it puts the folder before it, also where it is absolute."""
    return Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()


def _validates(unit: str, share: float) -> bool:
    digest = hashlib.sha256(f"validate:{unit}".encode()).digest()
    return int.from_bytes(digest[:7]) / 2.0**56 < share


def _cells(line: _Line) -> tuple[str, ...]:
    return (line.path, line.label, str(line.is_valid), line.source, line.decided_by)


def _write(file: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(columns)
        writer.writerows(rows)
