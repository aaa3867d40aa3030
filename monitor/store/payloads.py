"""Small pictures of recorded inputs: the gateway keeps some, the monitor shows and forgets them.

An event names its picture before there is one, by a reference that follows from the event alone;
that the picture exists is never promised: the gateway drops pictures rather than time, and they are
forgotten after a while. The pictures lie below the installation's home, so gateway and monitor
must share that folder; where they do not, events simply have no pictures.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

_REFERENCE = re.compile(
    r"(?P<model>[A-Za-z0-9_][A-Za-z0-9._-]{0,63})/(?P<day>\d{4}-\d{2}-\d{2})/"
    r"(?P<event>[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})\.jpg"
)
_JPEG = b"\xff\xd8\xff"
_UNFINISHED = ".part"
MOST_BYTES = 2 << 20
"""A thumbnail is a few kilobytes; what is larger is not one of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What one pass over the pictures deleted."""

    pictures: int
    bytes: int
    left: int
    """Pictures that stay."""
    left_bytes: int


def reference_of(model: str, at: datetime, event_id: str) -> str:
    """Name the picture of an event: by model, day and id."""
    return f"{model}/{at.astimezone(UTC).date().isoformat()}/{event_id}.jpg"


class Payloads:
    """The pictures of an installation. Safe to share between threads and processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, reference: str, jpeg: bytes) -> None:
        """Keep a picture; it is there whole or not at all.

        Raises
        ------
        ValueError
            The reference is none.
        OSError
            The folder cannot be written.
        """
        place = self._place(reference)
        if place is None:
            raise ValueError(f"{reference!r} is no reference to a picture")
        unfinished = place.with_suffix(_UNFINISHED)
        try:
            unfinished.write_bytes(jpeg)
        except FileNotFoundError:
            place.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(jpeg)
        unfinished.replace(place)

    def get(self, reference: str | None) -> bytes | None:
        """Read a picture; ``None`` when it was never kept, or is kept no longer."""
        place = None if reference is None else self._place(reference)
        if place is None:
            return None
        try:
            if place.stat().st_size > MOST_BYTES:
                return None
            jpeg = place.read_bytes()
        except OSError:
            return None
        return jpeg if jpeg.startswith(_JPEG) else None

    def has(self, reference: str | None) -> bool:
        """Tell whether a picture is there, without reading it."""
        place = None if reference is None else self._place(reference)
        return place is not None and place.is_file()

    def forget(self, now: datetime, *, days: float, most_bytes: int) -> Forgotten:
        """Delete the pictures of days long past, and the oldest of the rest until they fit.

        Parameters
        ----------
        now
            Tells which days are past.
        days
            A picture stays at least this long, unless room is short.
        most_bytes
            What all pictures may take.
        """
        oldest_day = (now - timedelta(days=days)).astimezone(UTC).date()
        abandoned = (now - timedelta(hours=1)).timestamp()
        kept: list[tuple[date, str, int, Path]] = []
        gone = gone_bytes = 0
        for day, path, size, modified in self._files():
            if day < oldest_day or (path.suffix == _UNFINISHED and modified < abandoned):
                gone, gone_bytes = gone + _delete(path), gone_bytes + size
            elif path.suffix != _UNFINISHED:
                kept.append((day, path.name, size, path))
        total = sum(size for _, _, size, _ in kept)
        # Ids begin with the time, so within a day the names are in the order of the events.
        kept.sort(key=lambda each: each[:2])
        left = len(kept)
        for _, _, size, path in kept:
            if total <= most_bytes:
                break
            total, left = total - size, left - 1
            gone, gone_bytes = gone + _delete(path), gone_bytes + size
        self._drop_empty_folders()
        return Forgotten(pictures=gone, bytes=gone_bytes, left=left, left_bytes=total)

    def _place(self, reference: str) -> Path | None:
        # It comes out of a record that others may have written, and must not lead elsewhere.
        return self._folder / reference if _REFERENCE.fullmatch(reference) else None

    def _files(self) -> Iterator[tuple[date, Path, int, float]]:
        for folder in self._folder.glob("*/*-*-*"):
            try:
                day = date.fromisoformat(folder.name)
                found = list(folder.iterdir())
            except (ValueError, OSError):
                continue  # not a folder of ours, or gone meanwhile
            for path in found:
                with contextlib.suppress(OSError):
                    if path.suffix in (".jpg", _UNFINISHED) and not path.is_symlink():
                        state = path.stat()
                        yield day, path, state.st_size, state.st_mtime

    def _drop_empty_folders(self) -> None:
        for folder in [*self._folder.glob("*/*-*-*"), *self._folder.glob("*")]:
            with contextlib.suppress(OSError):  # it is not empty, or a gateway is about to use it
                folder.rmdir()


def _delete(path: Path) -> int:
    try:
        path.unlink()
    except OSError:
        return 0
    return 1
