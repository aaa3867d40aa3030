"""The first key, so that a new installation can be entered at all."""

import os
import tempfile
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine, text

from monitor.domain import Role
from monitor.store.keys import Keys

FIRST_PERSON = "admin"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
"""Addresses only this machine reaches: a process that listens there may make the first key."""


def ensure_admin_key(engine: Engine, home: Path, now: datetime) -> Path | None:
    """Make an admin key and write it to a file only its owner can read, if there is no key at all.

    A gateway and a monitor that start together may both call this: one makes the key. A revoked key
    counts as a key, so nobody regains entry by a restart.

    Parameters
    ----------
    engine
        The state store, migrated.
    home
        Folder for ``admin.key``.
    now
        Recorded as the key's time of creation.

    Returns
    -------
        The file, if this call wrote it.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("LOCK TABLE keys IN EXCLUSIVE MODE"))
        keys = Keys(connection)
        if keys.count():
            return None
        token = keys.create(FIRST_PERSON, Role.ADMIN, now, by="first start")
        # Written before the commit: a file without a key is replaced by the next start, a key
        # without its file would lock everybody out.
        return _write_private(home / "admin.key", token)


def _write_private(path: Path, token: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A temporary file is 0600 from its first moment, whatever the umask.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(token + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path
