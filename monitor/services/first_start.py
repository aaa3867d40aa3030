"""Make an installation ready to start: its database, its first key."""

import os
from datetime import datetime

from sqlalchemy import Engine

from monitor.domain import Role
from monitor.store.audit import Audit
from monitor.store.keys import Keys
from monitor.store.migration import migrate
from monitor.store.settings import StoreSettings


def prepare(engine: Engine, settings: StoreSettings, now: datetime) -> bool:
    """Upgrade the state store and, if it has no key yet, make the admin key.

    Returns
    -------
    Whether an admin key was made; it is in `StoreSettings.key_file`, for its owner's eyes only.
    """
    migrate(engine)
    return make_admin_key(engine, settings, now)


def make_admin_key(engine: Engine, settings: StoreSettings, now: datetime) -> bool:
    """Make the first admin key if there is no key at all.

    The file is written before the transaction commits: a key nobody can read would lock everybody
    out, while a file whose key was never stored is simply replaced by the next start.
    """
    with engine.begin() as conn:
        keys = Keys(conn)
        if keys.count():
            return False
        token = keys.create("admin", Role.ADMIN, now, by="first start")
        Audit(conn).add("first start", "key.create", "admin", {"role": Role.ADMIN.value}, now)
        settings.home.mkdir(parents=True, exist_ok=True)
        settings.key_file.unlink(missing_ok=True)
        handle = os.open(settings.key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(token + "\n")
    return True
