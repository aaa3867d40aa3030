"""The schema is made by migrations, agrees with the tables in code, and no other is run on."""

import multiprocessing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy import Engine, inspect, text

from monitor.errors import SchemaTooNew, StaleSchema
from monitor.store.engine import connect
from monitor.store.migration import MIGRATIONS, check_current, migrate
from monitor.store.routes import Routes
from monitor.store.schema import HEAD, metadata
from monitor.store.settings import StoreSettings


def test_the_newest_migration_is_the_one_the_program_expects() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_heads() == [HEAD]


def test_the_migrated_schema_is_exactly_the_tables_in_code(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
        inspector = inspect(connection)
        checks = {
            check["name"]
            for table in metadata.sorted_tables
            for check in inspector.get_check_constraints(table.name)
        }
    assert checks == {
        "ck_alarms_resolved",
        "ck_alarms_state",
        "ck_budget_ended",
        "ck_budget_weight",
        "ck_bundles_state",
        "ck_decisions_inclusion",
        "ck_decisions_subject",
        "ck_certificates_depth",
        "ck_gate_verdicts_outcome",
        "ck_job_runs_status",
        "ck_keys_role",
        "ck_outbox_status",
        "ck_review_items_inclusion",
        "ck_review_items_state",
        "ck_signals_state",
        "ck_silences_origin",
        "ck_silences_state",
        "ck_windows_span",
        "ck_windows_status",
    }


def test_migrating_again_changes_nothing_and_passes(engine: Engine) -> None:
    migrate(engine)
    check_current(engine)


def test_a_store_without_tables_is_refused_with_the_way_out(tmp_path: Path) -> None:
    engine = connect(StoreSettings(home=tmp_path))
    with pytest.raises(StaleSchema, match=r"has no tables yet.*fieldwatch db upgrade"):
        check_current(engine)
    with pytest.raises(StaleSchema), engine.begin() as connection:
        Routes(connection).current()
    engine.dispose()


@pytest.mark.parametrize(("found", "error"), [("0000", StaleSchema), ("9999", SchemaTooNew)])
def test_an_older_or_newer_schema_is_refused(
    engine: Engine, found: str, error: type[Exception]
) -> None:
    _set_revision(engine, found)
    try:
        with pytest.raises(error, match=found):
            check_current(engine)
    finally:
        _set_revision(engine, HEAD)


def test_a_newer_schema_is_not_migrated(engine: Engine) -> None:
    _set_revision(engine, "9999")
    try:
        with pytest.raises(SchemaTooNew):
            migrate(engine)
    finally:
        _set_revision(engine, HEAD)


@pytest.mark.stores
def test_processes_that_start_together_migrate_once_on_sqlite(tmp_path: Path) -> None:
    _migrate_in_processes(StoreSettings(home=tmp_path))


@pytest.mark.stores
def test_processes_that_start_together_migrate_once_on_postgresql(
    tmp_path: Path, postgres_url: str, postgres_engine: Engine
) -> None:
    with postgres_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE DATABASE together"))
    url = postgres_engine.url.set(database="together").render_as_string(hide_password=False)
    _migrate_in_processes(StoreSettings(home=tmp_path, database_url=SecretStr(url)))


def _migrate_in_processes(settings: StoreSettings) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        pool.map(_migrate, [settings] * 3, chunksize=1)
    engine = connect(settings)
    check_current(engine)
    engine.dispose()


def _migrate(settings: StoreSettings) -> None:
    engine = connect(settings)
    migrate(engine)
    engine.dispose()


def _set_revision(engine: Engine, revision: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})
