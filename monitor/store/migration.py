"""Bring the state store's schema up to this program, and refuse to run on any other."""

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from monitor.errors import SchemaTooNew, StaleSchema
from monitor.store.engine import reading
from monitor.store.schema import HEAD

MIGRATIONS = Path(__file__).parent / "migrations"

_LOCK = 0x6669656C64
"""PostgreSQL's advisory lock held while upgrading."""


def migrate(engine: Engine) -> None:
    """Upgrade the schema to `HEAD`, from nothing or from any older one.

    Processes that start together may all call this: one upgrades, the others wait and find it done.
    Each migration commits together with its record.

    Raises
    ------
    SchemaTooNew
        A newer Fieldwatch upgraded the store.
    """
    # Alembic is only needed here; imported at the top it would burden every gateway.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        found = _revision(connection)
        if found == HEAD:
            return
        if found is not None and found > HEAD:
            raise SchemaTooNew(_address(engine), found, HEAD)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def check_current(engine: Engine) -> None:
    """Make sure the schema is the one this program was written for.

    Raises
    ------
    StaleSchema
        It is older, or there is none.
    SchemaTooNew
        It is newer.
    """
    with reading(engine) as connection:
        found = _revision(connection)
    if found is None or found < HEAD:
        raise StaleSchema(_address(engine), found, HEAD)
    if found > HEAD:
        raise SchemaTooNew(_address(engine), found, HEAD)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return None if found is None else str(found)


def _address(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=True)
