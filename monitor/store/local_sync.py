"""Make commits of a Delta table in a local folder survive a power cut.

The library renames and links its files into place without an fsync, so a commit it reports may
exist in memory only. The spool is cut once a batch is durable; without this, a power cut soon
after could lose the batch, or leave an empty log entry that makes the table unreadable.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit


def local_folder(url: str) -> Path | None:
    """Find the folder a table's URL means; ``None`` for an object store, which needs no help."""
    if "://" not in url:
        return Path(url)
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def sync_commits(table: Path, versions: Iterable[int]) -> None:
    """Force the files of some commits to disk: data first, then the log, then the folders.

    Parameters
    ----------
    table
        The table's folder.
    versions
        Commits in rising order. One whose log entry was cleaned up since is left out.
    """
    log = table / "_delta_log"
    entries: list[Path] = []
    folders = {log, table, table.parent}
    for version in versions:
        entries += sorted(log.glob(f"{version:020d}.*"))
        for data in _data_files(table, log / f"{version:020d}.json"):
            _sync(data)
            folders.update(parent for parent in data.parents if parent.is_relative_to(table))
    if any(".checkpoint" in entry.name for entry in entries):
        entries.append(log / "_last_checkpoint")
    for path in [*entries, *sorted(folders, reverse=True)]:
        _sync(path)


def _data_files(table: Path, entry: Path) -> list[Path]:
    try:
        lines = entry.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    actions = [json.loads(line) for line in lines]
    return [table / unquote(action["add"]["path"]) for action in actions if "add" in action]


def _sync(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:  # compacted or cleaned up by now, so nothing is lost with it
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
