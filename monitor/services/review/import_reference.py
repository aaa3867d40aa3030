"""Queue the training data for cleaning: train, then clean, then train again.

A trained model shows where its own training data are odd: the items whose label it believes least
come first, as fastai's cleaner shows them, by split and class.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pyarrow import BufferReader, parquet
from uuid6 import uuid7

from monitor.errors import NotFound, OptionInvalid
from monitor.review.item import NewItem, Origin, Why
from monitor.review.sampling import priority
from monitor.services.context import Context
from monitor.services.explanations.exhibits import reference_pictures
from monitor.services.references import Reference
from monitor.store.audit import Audit
from monitor.store.bundles import Bundles
from monitor.store.engine import database_now, reading
from monitor.store.payloads import Payloads, reference_of
from monitor.store.review_items import ReviewItems
from monitor.store.routes import Routes
from reference_data.errors import InputRejected
from reference_data.preprocess import UNLIMITED
from reference_data.thumbnail import thumbnail_of

SHOWN_SIDE = 256
"""Pixels of the longer side of what readers see, at most."""
TRAIN, VALID = "train", "valid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which training items are wanted."""

    model: str
    split: str | None = None
    """``train`` or ``valid``; both when None."""
    label: str | None = None
    """A class; all when None."""
    most: int = 200
    data: Path | None = None
    """Folder the items' paths are relative to, for their pictures; None for those of the bundle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """What was queued."""

    considered: int
    """Items of the split and class."""
    queued: int
    """New in the queue."""
    with_picture: int
    largest_loss: float | None


def import_reference(
    context: Context, wanted: Selection, *, by: str, advance: Callable[[int], None]
) -> Queued:
    """Queue the training items with the largest loss.

    Parameters
    ----------
    by
        Recorded as the actor.
    advance
        Told how many items are done.

    Raises
    ------
    NotFound
        If the model is not routed, or has no such class.
    OptionInvalid
        If the split is none, or the folder is not there.
    """
    if wanted.split not in (None, TRAIN, VALID):
        raise OptionInvalid("--split", str(wanted.split), "it is train or valid")
    if wanted.data is not None and not wanted.data.is_dir():
        raise OptionInvalid("--data", str(wanted.data), "it is no folder")
    reference = _reference(context, wanted.model)
    vocab = reference.manifest.vocab
    if wanted.label is not None and wanted.label not in vocab:
        raise NotFound("class", wanted.label, f"The model's are {', '.join(vocab)}.")
    rows = _rows(reference, wanted)
    chosen = sorted(rows, key=lambda row: -row["loss"])[: wanted.most]
    pictures = _Pictures(context, reference, wanted.data, context.clock())
    items = []
    for row in chosen:
        items.append(_item(reference, wanted.model, row, pictures.keep(row)))
        advance(1)
    with context.engine.begin() as conn:
        now = database_now(conn)
        queued = ReviewItems(conn).add(items, now)
        detail = {"split": wanted.split, "class": wanted.label, "queued": queued}
        Audit(conn).add(by, "review.reference_queued", f"model/{wanted.model}", detail, now)
    return Queued(
        considered=len(rows),
        queued=queued,
        with_picture=sum(item.picture is not None for item in items),
        largest_loss=chosen[0]["loss"] if chosen else None,
    )


def reference_rows(reference: Reference) -> list[dict[str, Any]]:
    """Read every training item of a bundle: path, label, role, prediction, confidence, loss."""
    columns = ["path", "label", "role", "prediction", "confidence", "loss"]
    file = parquet.ParquetFile(BufferReader(reference.bundle.read("reference.parquet")))
    there = [name for name in columns if name in file.schema_arrow.names]
    found: list[dict[str, Any]] = file.read(columns=there).to_pylist()
    return found


def split_of(row: Mapping[str, Any]) -> str:
    """Tell which side of the division an item is on: what calibrates was held out."""
    return TRAIN if row.get("role", TRAIN) == TRAIN else VALID


def _reference(context: Context, model: str) -> Reference:
    with reading(context.engine) as conn:
        route = Routes(conn).current().get(model)
        if route is None:
            raise NotFound("model", model, "`fieldwatch status` lists the models.")
        registered = Bundles(conn).trusted(route.bundle_sha)
    return context.references.open(registered)


def _rows(reference: Reference, wanted: Selection) -> list[dict[str, Any]]:
    return [
        {**row, "place": place}
        for place, row in enumerate(reference_rows(reference))
        if row.get("loss") is not None
        and (wanted.split is None or split_of(row) == wanted.split)
        and (wanted.label is None or row["label"] == wanted.label)
    ]


def _item(reference: Reference, model: str, row: Mapping[str, Any], picture: str | None) -> NewItem:
    return NewItem(
        model=model,
        bundle_sha=reference.digest,
        origin=Origin.REFERENCE,
        subject=row["path"],
        reason=Why.TOP_LOSS,
        # Chosen for its loss, not drawn: such items estimate nothing.
        inclusion_probability=1.0,
        audit=False,
        # Among cleaning items the largest loss comes first; a loss above ten counts as ten.
        priority=priority(Why.TOP_LOSS, None) + 0.05 * min(10.0, row["loss"]),
        blind=False,
        prediction=row["prediction"],
        confidence=row["confidence"],
        label=row["label"],
        loss=row["loss"],
        split=split_of(row),
        picture=picture,
    )


class _Pictures:
    """Keeps a small picture of each queued item, from its file or from the bundle."""

    def __init__(
        self, context: Context, reference: Reference, data: Path | None, now: datetime
    ) -> None:
        self._payloads = Payloads(context.settings.store.payloads)
        self._reference = reference
        self._data = data
        self._bundled = reference_pictures(reference) if data is None else {}
        self._now = now

    def keep(self, row: Mapping[str, Any]) -> str | None:
        jpeg = self._bundled.get(row["place"]) if self._data is None else self._drawn(row["path"])
        if jpeg is None:
            return None
        name = reference_of(self._reference.manifest.name, self._now, str(uuid7()))
        try:
            self._payloads.put(name, jpeg)
        except (OSError, ValueError):
            return None  # an item without a picture can still be looked up by its path
        return name

    def _drawn(self, path: str) -> bytes | None:
        assert self._data is not None
        mode = self._reference.manifest.preprocessing.mode
        try:
            return thumbnail_of((self._data / path).read_bytes(), mode, UNLIMITED, SHOWN_SIDE)
        except (OSError, InputRejected):
            return None
