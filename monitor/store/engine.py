"""Connections to the state store, SQLite or PostgreSQL.

On SQLite a transaction begins IMMEDIATE, so that what it reads is still true when it writes; with a
deferred one two monitors could both read, and the second fail on its first write. `reading` opens
one that only reads and waits for nobody.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, DisconnectionError, IntegrityError
from sqlalchemy.pool import ConnectionPoolEntry

from monitor.errors import (
    ConstraintBroken,
    HomeUnusable,
    SettingsInvalid,
    StaleSchema,
    StoreError,
    StoreUnreachable,
    ValueUnstorable,
)
from monitor.store.schema import HEAD
from monitor.store.settings import StoreSettings

BUSY_TIMEOUT_S = 15
"""How long a SQLite connection waits for the one writer before it gives up."""
CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_S = 60

_MISSING = frozenset({"42P01", "42703"})
"""PostgreSQL's codes for a table or column that is not there."""


def connect(settings: StoreSettings) -> Engine:
    """Open the state store; nothing is sent before the first use.

    Parameters
    ----------
    settings
        Where it is. For SQLite the first use makes the home folder if it is not there, and raises
        `HomeUnusable` if that cannot be.

    Raises
    ------
    SettingsInvalid
        `database_url` is no URL of SQLite or PostgreSQL.
    """
    url = _url(settings)
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
        event.listen(engine, "do_connect", lambda *_: _make(settings.home))
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        # In memory there is no file, and every connection is the same one.
        if (path := url.database) and path != ":memory:":
            _stay_with_file(engine, Path(path))
    else:
        options = f"-c statement_timeout={STATEMENT_TIMEOUT_S}s -c timezone=UTC"
        engine = create_engine(
            url,
            pool_pre_ping=True,
            connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "options": options},
        )
    event.listen(engine, "handle_error", _translate, retval=True)
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Open a consistent view that only reads, and never waits for a writer."""
    options: dict[str, object] = {"fieldwatch_reading": True}
    if engine.dialect.name == "postgresql":
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with engine.connect() as connection, connection.execution_options(**options).begin():
        if engine.dialect.name != "sqlite":
            yield connection
            return
        connection.exec_driver_sql("PRAGMA query_only = ON")
        try:
            yield connection
        finally:
            connection.exec_driver_sql("PRAGMA query_only = OFF")


def database_now(conn: Connection) -> datetime:
    """Read the database's clock, the only one that decides about leases."""
    if conn.dialect.name == "sqlite":
        found = conn.scalar(text("SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now')"))
        return datetime.fromisoformat(str(found)).replace(tzinfo=UTC)
    now = conn.scalar(text("SELECT clock_timestamp()"))
    assert isinstance(now, datetime)
    return now.astimezone(UTC)


def _make(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HomeUnusable(home, error.strerror or str(error)) from error


def _url(settings: StoreSettings) -> URL:
    try:
        url = make_url(settings.database)
    except ArgumentError as error:
        raise SettingsInvalid(["store.database_url: not a database URL"], None) from error
    if settings.database_password is not None:
        url = url.set(password=settings.database_password.get_secret_value())
    if url.drivername in {"postgresql", "postgres"}:
        return url.set(drivername="postgresql+psycopg")
    if url.drivername not in {"sqlite", "postgresql+psycopg"}:
        fault = f"store.database_url: {url.drivername} is neither sqlite nor postgresql"
        raise SettingsInvalid([fault], None)
    return url


def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    assert isinstance(connection, sqlite3.Connection)
    # The driver's own idea of when to begin is switched off: `_begin_sqlite` says it.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _stay_with_file(engine: Engine, path: Path) -> None:
    """Open the database anew when its file was deleted, or replaced by a backup.

    An open connection would go on reading the old file for ever: a kill latch that somebody arms
    in the new one would never be seen, and the plan would look fresh.
    """

    def remember(_: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        entry.info["file"] = _identity(path)

    def compare(_: DBAPIConnection, entry: ConnectionPoolEntry, __: object) -> None:
        if _identity(path) != entry.info["file"]:
            raise DisconnectionError(f"{path} is another file than before")

    event.listen(engine, "connect", remember)
    event.listen(engine, "checkout", compare)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _begin_sqlite(connection: Connection) -> None:
    reads = connection.get_execution_options().get("fieldwatch_reading", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _translate(context: ExceptionContext) -> StoreError | None:
    """Give ours in place of the driver's errors, for every statement of the engine."""
    error = context.sqlalchemy_exception
    if not isinstance(error, DBAPIError):
        return None
    cause = (str(error.orig).strip() or repr(error.orig)).splitlines()[0]
    url = context.engine.url if context.engine is not None else None
    address = "database" if url is None else url.render_as_string(hide_password=True)
    sqlstate = getattr(error.orig, "sqlstate", None)
    if sqlstate in _MISSING or cause.startswith(("no such table", "no such column")):
        return StaleSchema(address, None, HEAD)
    if isinstance(error, IntegrityError):
        return ConstraintBroken(cause)
    if isinstance(error, DataError):
        return ValueUnstorable(cause)
    return StoreUnreachable(address, cause)
