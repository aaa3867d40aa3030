"""Several monitors at once, on both databases: events count once, windows are done once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from monitor.domain import AlarmKind, Status
from monitor.metrics.readings import Readings
from monitor.services.assess import assess
from monitor.services.deliver import deliver
from monitor.services.ingest import ingest
from monitor.services.last_windows import recent_windows
from monitor.services.scrape import read_metrics
from monitor.services.status import look
from monitor.settings import DetectorOptions, MonitorOptions
from monitor.store.engine import connect
from monitor.store.schema import metadata
from monitor.store.settings import StoreSettings
from tests.databases import DATABASES
from tests.monitor.installation import Installation
from tests.monitor.test_jobs_and_notices import Recording

MONITORS = 3
OPTIONS = MonitorOptions(
    ingest_batch=25,
    window_s=600,
    detectors=DetectorOptions(clock="episodes", false_alarm_episodes=300),
)


@pytest.fixture(params=DATABASES)
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    if request.param == "sqlite":
        yield Installation(tmp_path, OPTIONS)
        return
    url = SecretStr(request.getfixturevalue("postgres_url"))
    yield Installation(tmp_path, OPTIONS, database_url=url)
    engine = connect(StoreSettings(home=tmp_path, database_url=url))
    metadata.drop_all(engine)
    with engine.begin() as conn:
        conn.execute(text("DROP TABLE alembic_version"))
    engine.dispose()


@pytest.mark.stores
def test_several_monitors_at_once_count_every_event_and_window_once(
    installation: Installation,
) -> None:
    bundle = installation.serve()
    installation.healthy(bundle, 60)
    strange = installation.novel(bundle, 40)
    installation.healthy(bundle, 130)
    monitors = [installation.monitor(owner=f"m{i}") for i in range(MONITORS)]
    told = Recording("log")

    with ThreadPoolExecutor(MONITORS) as pool:
        intakes = [
            intake
            for each in pool.map(lambda m: ingest(m, datetime.now(UTC)), monitors)
            for intake in each
        ]
        assessed = list(pool.map(assess, monitors))
        delivered = list(pool.map(lambda m: deliver(m, {"log": told}), monitors))

    assert sum(intake.events for intake in intakes) == 230
    found = look(monitors[0])
    [model] = found.models
    assert model.ingested == {Status.OK: 230}
    assert sum(len(intake.opened) for intake in intakes) == 1
    assert sum(len(intake.resolved) for intake in intakes) == 1
    assert model.alarms == ()
    assert sum(each.created for each in assessed) == sum(each.done for each in assessed) > 10
    windows = recent_windows(monitors[0], "bears", timedelta(days=1))
    assert sum(window.ok for window in windows) == 230
    assert sum(each.delivered for each in delivered) == len(told.got) == 2
    assert [notice.fields["action"] for notice in told.got] == ["opened", "resolved"]
    assert strange[0] <= told.got[0].body.partition("  ")[2][:36]

    readings: list[Readings] = [read_metrics(monitor) for monitor in monitors]
    assert all(each == readings[0] for each in readings)
    assert readings[0].versions[0].open_alarms.get(AlarmKind.NOVELTY) is None
    for monitor in monitors:
        monitor.engine.dispose()
    installation.engine.dispose()
