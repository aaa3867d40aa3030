"""Where reports lie: pages and what they say by model, and one Evidently workspace beside them.

::

    reports/
        pages/MODEL/ID.html      the page, named by the end of the time it looks at
        pages/MODEL/ID.json      what it says: an `Entry`
        workspace/               a project a model, a snapshot a report: `evidently ui --workspace`
        .making-…/               a report in the making; gone when it is made

Files are moved into place whole, the entry last, so that a report is there with all its parts or
not at all. None holds rows or ids of events.
"""

import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from monitor.errors import NotFound
from monitor.reports.job import ColumnVerdict, Subject, Verdict
from reference_data.bundle import NAME_PATTERN

ID = re.compile(r"\d{8}T\d{6}Z")
ABANDONED = timedelta(days=1)
"""After which a report in the making is what a monitor left that was killed."""
_NAMESPACE = uuid.UUID("5d0e1d83-3f0b-4f6e-8f0d-9b5f6d1c7a44")
_MAKING = ".making-"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What one report says."""

    id: str
    subject: Subject
    made_at: datetime
    verdict: Verdict
    """Of all columns together."""
    headline: str
    columns: tuple[ColumnVerdict, ...]
    level: float
    """Chance that it calls any column drifted when none has."""
    snapshot: str | None = None
    """UUID in the workspace; None where there was too little to compare."""
    evidently: str | None = None
    """Version of the library; None where there was too little to compare."""


def project_of(model: str) -> str:
    """Give the UUID of a model's project: every monitor names it alike."""
    return str(uuid.uuid5(_NAMESPACE, model))


def id_at(at: datetime) -> str:
    """Name the report that ends, or was asked for, at an instant."""
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"


class Shelf:
    """The reports of an installation, in a folder of its home."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def workspace(self) -> Path:
        """The Evidently workspace."""
        return self._folder / "workspace"

    def page(self, model: str, report_id: str) -> Path:
        """Give the place of a report's page.

        Raises
        ------
        NotFound
            If there is no such report.
        """
        file = self._pages(model) / f"{report_id}.html"
        if not ID.fullmatch(report_id) or not file.is_file():
            way_out = f"`fieldwatch report {model} --list` shows those that are kept."
            raise NotFound(f"report of {model}", report_id, way_out)
        return file

    def entries(self, model: str) -> list[Entry]:
        """Read what the reports of a model say, the newest first."""
        files = sorted(self._pages(model).glob("*.json"), reverse=True)
        return [entry for file in files if (entry := _read(file)) is not None]

    def latest(self, model: str) -> Entry | None:
        """Read what the newest report of a model says; None while there is none."""
        for file in sorted(self._pages(model).glob("*.json"), reverse=True):
            if (entry := _read(file)) is not None:
                return entry
        return None

    @contextmanager
    def making(self) -> Iterator[Path]:
        """Give an empty folder to make a report in; it is gone afterwards."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=_MAKING, dir=self._folder) as folder:
            yield Path(folder)

    def put(self, entry: Entry, page: Path, workspace: Path | None) -> None:
        """Take a report in, in place of one of the same id.

        Parameters
        ----------
        entry
            What it says.
        page
            The page, on the same file system; moved from there.
        workspace
            A workspace with its snapshot alone; moved from there too.
        """
        model = entry.subject.model
        before = _read(self._pages(model) / f"{entry.id}.json")
        self._pages(model).mkdir(parents=True, exist_ok=True)
        if workspace is not None:
            self._take_snapshot(model, workspace)
        os.replace(page, self._pages(model) / f"{entry.id}.html")
        told = page.with_suffix(".json")
        told.write_bytes(msgspec.json.encode(entry))
        os.replace(told, self._pages(model) / f"{entry.id}.json")
        if before is not None and before.snapshot != entry.snapshot:
            self._drop_snapshot(before)

    def prune(self, model: str, keep: int) -> int:
        """Delete all but the newest reports of a model; return how many went."""
        old = self.entries(model)[keep:]
        for entry in old:
            # The entry first: what is not listed is not missed.
            for suffix in ("json", "html"):
                (self._pages(model) / f"{entry.id}.{suffix}").unlink(missing_ok=True)
            self._drop_snapshot(entry)
        return len(old)

    def sweep(self, now: datetime) -> None:
        """Delete what monitors left that were killed while they made a report."""
        for folder in self._folder.glob(f"{_MAKING}*"):
            if folder.stat().st_mtime < (now - ABANDONED).timestamp():
                shutil.rmtree(folder, ignore_errors=True)

    def _pages(self, model: str) -> Path:
        if not NAME_PATTERN.fullmatch(model):
            raise NotFound("model", model, "`fieldwatch status` lists the models that are served.")
        return self._folder / "pages" / model

    def _take_snapshot(self, model: str, workspace: Path) -> None:
        project = project_of(model)
        here = self.workspace / project
        (here / "snapshots").mkdir(parents=True, exist_ok=True)
        for file in (each for each in (workspace / project).iterdir() if each.is_file()):
            # What people changed about the project since stays.
            if not (here / file.name).exists():
                os.replace(file, here / file.name)
        for snapshot in (workspace / project / "snapshots").iterdir():
            os.replace(snapshot, here / "snapshots" / snapshot.name)

    def _drop_snapshot(self, entry: Entry) -> None:
        if entry.snapshot is not None:
            snapshots = self.workspace / project_of(entry.subject.model) / "snapshots"
            (snapshots / f"{entry.snapshot}.json").unlink(missing_ok=True)


def _read(file: Path) -> Entry | None:
    """Read an entry; None for one that is gone by now, or that another version wrote."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Entry)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
