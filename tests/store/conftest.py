"""One suite for both databases: each test that takes `engine` runs on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, QueuePool, text

from monitor.store.engine import connect
from monitor.store.migration import migrate
from monitor.store.schema import metadata
from monitor.store.settings import StoreSettings
from tests.databases import DATABASES
from tests.templates import migrated

NOW = datetime(2026, 11, 23, 14, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def postgres_engine(
    postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    engine = connect(
        StoreSettings(home=tmp_path_factory.mktemp("pg"), database_url=SecretStr(postgres_url))
    )
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture(params=DATABASES)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> StoreSettings:
    """Settings of a migrated, empty store, for tests whose processes connect by themselves."""
    if request.param == "sqlite":
        settings = StoreSettings(home=tmp_path)
        migrated(settings).dispose()
        return settings
    request.getfixturevalue("postgres_engine")
    url = request.getfixturevalue("postgres_url")
    return StoreSettings(home=tmp_path, database_url=SecretStr(url))


@pytest.fixture
def engine(request: pytest.FixtureRequest, settings: StoreSettings) -> Iterator[Engine]:
    """A migrated, empty store; every connection must be back in the pool at the end."""
    if settings.database_url is not None:
        engine: Engine = request.getfixturevalue("postgres_engine")
    else:
        engine = connect(settings)
    yield engine
    assert isinstance(engine.pool, QueuePool)
    assert engine.pool.checkedout() == 0
    if settings.database_url is None:
        engine.dispose()
        return
    with engine.begin() as connection:
        names = ", ".join(table.name for table in metadata.sorted_tables)
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
