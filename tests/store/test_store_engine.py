"""Connections: who waits for whom, what a failure is called, what an import costs."""

import socket
import sqlite3
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from monitor.errors import (
    ConstraintBroken,
    FieldwatchError,
    SettingsInvalid,
    StoreError,
    StoreUnreachable,
)
from monitor.rollouts.kill import EVERYTHING, KillScope
from monitor.store import engine as engine_module
from monitor.store.engine import connect, reading
from monitor.store.kill_latches import KillLatches
from monitor.store.schema import cursors
from monitor.store.settings import StoreSettings
from tests.templates import migrated


def test_a_reader_waits_for_no_writer_and_sees_one_moment(engine: Engine, now: datetime) -> None:
    with reading(engine) as reader:
        before = KillLatches(reader).armed()
        with engine.begin() as writer:
            KillLatches(writer).arm(KillScope.INSTALLATION, EVERYTHING, "anna", "odd", now)
            assert KillLatches(reader).armed() == before
        assert KillLatches(reader).armed() == before
    with reading(engine) as reader:
        assert len(KillLatches(reader).armed()) == 1


def test_a_reader_cannot_write_and_leaves_a_connection_that_can(
    engine: Engine, now: datetime
) -> None:
    def arm(connection: Connection) -> None:
        KillLatches(connection).arm(KillScope.INSTALLATION, EVERYTHING, "anna", "odd", now)

    with pytest.raises(FieldwatchError, match=r"read-?only"), reading(engine) as connection:
        arm(connection)
    with engine.begin() as connection:
        arm(connection)
    with reading(engine) as connection:
        assert len(KillLatches(connection).armed()) == 1


def test_a_writer_begins_by_taking_the_lock_so_what_it_read_stays_true(
    engine: Engine, now: datetime
) -> None:
    """Twenty threads add one each, by reading and writing in one transaction."""
    with engine.begin() as connection:
        connection.execute(cursors.insert().values(model="m", writer="w", seq=0, updated_at=now))

    def add() -> None:
        with engine.begin() as connection:
            seq = connection.scalar(text("SELECT seq FROM cursors FOR UPDATE" if locks else SELECT))
            assert isinstance(seq, int)
            connection.execute(cursors.update().values(seq=seq + 1))

    locks = engine.dialect.name == "postgresql"
    threads = [threading.Thread(target=add) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(engine) as connection:
        assert connection.scalar(text(SELECT)) == 20


SELECT = "SELECT seq FROM cursors"


def test_a_row_the_schema_forbids_is_our_error(engine: Engine) -> None:
    with pytest.raises(ConstraintBroken) as caught, engine.begin() as connection:
        connection.execute(text("INSERT INTO cursors (model, writer) VALUES ('m', 'w')"))
    assert isinstance(caught.value.__cause__, Exception)
    assert not isinstance(caught.value, SQLAlchemyError)


def test_a_database_locked_for_too_long_is_unreachable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "BUSY_TIMEOUT_S", 0)
    engine = connect(StoreSettings(home=tmp_path))
    with engine.begin(), pytest.raises(StoreUnreachable, match=r"state.db .*is locked"):
        engine.connect().begin()
    engine.dispose()


def test_a_file_that_is_no_database_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database, and long enough to be read" * 100)
    engine = connect(StoreSettings(home=tmp_path))
    with pytest.raises(StoreUnreachable, match="not a database"):
        engine.connect()
    engine.dispose()


def test_a_database_that_does_not_answer_is_unreachable_and_its_password_hidden(
    tmp_path: Path,
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    url = SecretStr(f"postgresql://anna:hush@127.0.0.1:{port}/fieldwatch")
    engine = connect(StoreSettings(home=tmp_path, database_url=url))
    with pytest.raises(StoreUnreachable) as caught:
        engine.connect()
    assert "hush" not in str(caught.value)
    engine.dispose()


@pytest.mark.parametrize("url", ["mysql://h/d", "no url", "postgresql+asyncpg://h/d"])
def test_an_address_of_another_kind_of_database_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"store\.database_url"):
        connect(StoreSettings(home=tmp_path, database_url=SecretStr(url)))


def test_sqlite_keeps_what_it_has_confirmed_through_a_power_cut(tmp_path: Path) -> None:
    engine = connect(StoreSettings(home=tmp_path))
    with engine.begin() as connection:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert pragmas == ["wal", 2, 1]
    engine.dispose()
    assert sqlite3.sqlite_version_info >= (3, 35)


def test_what_a_gateway_imports_of_the_store_stays_lean() -> None:
    """Each of these costs 10 to 100 MB, or belongs to the monitor alone."""
    program = """
import sys
import monitor.store.events, monitor.store.engine, monitor.store.migration
import monitor.store.keys, monitor.store.routes, monitor.store.gateways
import monitor.store.kill_latches, monitor.store.bootstrap, monitor.store.authorization
import monitor.rollouts.routing
heavy = {"pandas", "scipy", "sklearn", "torch", "alembic", "psycopg", "pyarrow.parquet",
         "pyarrow.dataset", "deltalake.fs", "monitor.store.compaction"}
print(sorted(heavy & sys.modules.keys()))
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr


def test_a_database_file_that_was_replaced_is_read_and_a_deleted_one_is_missed(
    tmp_path: Path, now: datetime
) -> None:
    """As after a backup was put back under processes that run."""
    settings = StoreSettings(home=tmp_path)
    file = tmp_path / "state.db"
    engine = migrated(settings)
    with engine.begin() as connection:
        KillLatches(connection).arm(KillScope.INSTALLATION, EVERYTHING, "anna", "odd", now)
    backup = StoreSettings(home=tmp_path / "backup")
    migrated(backup).dispose()
    for leftover in tmp_path.glob("state.db-*"):
        leftover.unlink()
    (backup.home / "state.db").replace(file)
    with reading(engine) as connection:
        assert KillLatches(connection).armed() == []
    file.unlink()
    with pytest.raises(StoreError), reading(engine) as connection:
        KillLatches(connection).armed()
    engine.dispose()
