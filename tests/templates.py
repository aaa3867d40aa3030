"""Stores and bundles that are made once a process and copied by each test: a tenth of the time.

A copy is a test's own: what it does to it no other test sees.
"""

import functools
import shutil
import tempfile
from collections.abc import Callable, Hashable
from pathlib import Path

from sqlalchemy import Engine

from monitor.store.engine import connect
from monitor.store.migration import migrate
from monitor.store.settings import StoreSettings
from reference_data.bundle import Bundle, load


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    # Kept by the cache to the end of the process, which removes it.
    return tempfile.TemporaryDirectory(prefix="fieldwatch-templates-", ignore_cleanup_errors=True)


def new_folder() -> Path:
    """Make a folder that lasts as long as this process."""
    return Path(tempfile.mkdtemp(dir=_folder().name))


@functools.cache
def _empty_store() -> Path:
    settings = StoreSettings(home=new_folder())
    engine = connect(settings)
    migrate(engine)
    engine.dispose()
    return settings.home / "state.db"


def migrated(settings: StoreSettings) -> Engine:
    """Open a store that is migrated, and empty if it was not there before."""
    file = settings.home / "state.db"
    if settings.database_url is not None:
        engine = connect(settings)
        migrate(engine)
        return engine
    if not file.exists():
        settings.home.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_empty_store(), file)
    return connect(settings)


_bundles: dict[Hashable, Bundle] = {}


def bundle_like(key: Hashable, make: Callable[[Path], Bundle], parent: Path) -> Bundle:
    """Give a bundle in `parent` like the one that `make` wrote for this key before.

    Parameters
    ----------
    key
        All that decides what is made.
    make
        Writes the bundle into a folder; called for the first of this key.
    parent
        Where the copy goes.
    """
    made = _bundles.get(key)
    if made is None:
        made = _bundles[key] = make(new_folder())
    place = parent / made.path.name
    if not place.exists():
        shutil.copytree(made.path, place)
    return load(place, expected_digest=made.digest)
