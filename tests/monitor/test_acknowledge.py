"""Acknowledging: the streams behind an alarm begin again, the alarm stands and resolves."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from starlette.testclient import TestClient
from typing_extensions import override

from monitor.domain import Alarm, AlarmState, Mode, Role, StreamName
from monitor.errors import AlarmResolved, NotFound
from monitor.services import key_desk
from monitor.services.acknowledge import acknowledge
from monitor.services.context import Context
from monitor.services.ingest import ingest
from monitor.services.status import look
from monitor.services.streams import budget
from monitor.services.streams.reading import StreamStatus
from monitor.store.alarms import Alarms
from monitor.store.audit import Audit
from monitor.store.engine import connect, reading
from monitor.store.events import EventLog
from monitor.store.schema import metadata
from monitor.store.settings import StoreSettings
from monitor.wiring import make_app
from tests.databases import DATABASES
from tests.monitor.installation import Installation


@pytest.fixture(params=DATABASES)
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    if request.param == "sqlite":
        made = Installation(tmp_path)
        yield made
        made.engine.dispose()
        return
    url = SecretStr(request.getfixturevalue("postgres_url"))
    made = Installation(tmp_path, database_url=url)
    yield made
    made.engine.dispose()
    engine = connect(StoreSettings(home=tmp_path, database_url=url))
    metadata.drop_all(engine)
    with engine.begin() as conn:
        conn.execute(text("DROP TABLE alembic_version"))
    engine.dispose()


def monitor(installation: Installation, events: EventLog | None = None) -> Context:
    """Start a monitor that shares the test's connections."""
    return installation.monitor(engine=installation.engine, events=events)


def the_alarm(installation: Installation) -> Alarm:
    with reading(installation.engine) as conn:
        [alarm] = Alarms(conn).all()
    return alarm


def semantic(installation: Installation, mode: Mode = Mode.CERTIFIED) -> StreamStatus:
    [model] = look(monitor(installation)).models
    [found] = [s for s in model.streams if s.stream is StreamName.SEMANTIC and s.mode is mode]
    return found


def test_the_streams_begin_again_and_the_alarm_stands_and_resolves(
    installation: Installation,
) -> None:
    bundle = installation.serve()
    installation.novel(bundle, 35)
    ingest(monitor(installation), installation.clock)
    alarm = the_alarm(installation)
    held = budget.look(monitor(installation))
    assert semantic(installation).log_evidence is not None
    assert semantic(installation, Mode.BALANCED).log_evidence is not None

    context = monitor(installation)
    done = acknowledge(context, alarm.id[:30], "ann", "new camera", installation.clock)
    assert (done.acknowledged_by, done.acknowledged_reason) == ("ann", "new camera")
    assert done.state is AlarmState.OPEN
    assert the_alarm(installation) == done
    assert semantic(installation).log_evidence is None
    assert semantic(installation, Mode.BALANCED).log_evidence is None
    after = budget.look(context)
    assert after.held == pytest.approx(held.held)
    others = {s.stream for s in after.shares if s in held.shares}
    assert StreamName.SEMANTIC not in {key.stream for key in others}
    assert len(others) == len(after.shares) - 1
    with reading(installation.engine) as conn:
        [entry, _] = Audit(conn).all(target=f"alarm/{alarm.id}")
    assert (entry.actor, entry.action) == ("ann", "alarm.acknowledged")
    assert entry.detail["restarted"] == ["semantic"]

    installation.healthy(bundle, 100)
    ingest(monitor(installation), installation.clock)
    resolved = the_alarm(installation)
    assert resolved.state is AlarmState.RESOLVED
    assert resolved.acknowledged_by == "ann"
    assert semantic(installation).episodes == 100


def test_once_more_is_no_change_and_one_that_is_over_is_refused(
    installation: Installation,
) -> None:
    bundle = installation.serve()
    installation.novel(bundle, 30)
    ingest(monitor(installation), installation.clock)
    alarm, context = the_alarm(installation), monitor(installation)
    first = acknowledge(context, alarm.id, "ann", "seen", installation.clock)
    later = installation.clock + timedelta(hours=1)
    assert acknowledge(context, alarm.id, "bob", "me too", later) == first
    with reading(installation.engine) as conn:
        assert len(Audit(conn).all(target=f"alarm/{alarm.id}")) == 2

    installation.healthy(bundle, 130)
    ingest(monitor(installation), installation.clock)
    with pytest.raises(AlarmResolved, match="resolved by itself"):
        acknowledge(context, alarm.id, "ann", "late", later)
    with pytest.raises(NotFound):
        acknowledge(context, "nothing", "ann", "slip", later)


def test_a_monitor_in_the_middle_of_a_pass_does_not_bring_the_old_evidence_back(
    installation: Installation,
) -> None:
    bundle = installation.serve()
    installation.novel(bundle, 30)
    ingest(monitor(installation), installation.clock)
    alarm = the_alarm(installation)
    installation.novel(bundle, 2)
    passes: list[int] = []

    class Meanwhile(EventLog):
        @override
        def after(self, *arguments: Any, **options: Any) -> Any:
            found = super().after(*arguments, **options)
            if not passes:
                now = installation.clock
                acknowledge(monitor(installation), alarm.id, "ann", "seen", now)
            passes.append(found.num_rows)
            return found

    events = Meanwhile(installation.settings.store.events)
    [intake] = ingest(monitor(installation, events), installation.clock)
    assert passes[:2] == [2, 2]
    assert intake.events == 2
    assert semantic(installation).episodes == 2
    assert the_alarm(installation).acknowledged_by == "ann"


def test_an_operator_acknowledges_over_http_in_their_own_name(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    bundle = installation.serve()
    installation.novel(bundle, 30)
    ingest(monitor(installation), installation.clock)
    alarm, client = the_alarm(installation), TestClient(make_app(monitor(installation)))
    headers = {
        role: {
            "X-API-Key": key_desk.create(
                installation.engine, f"ann {role}", role, "test", installation.clock
            )
        }
        for role in (Role.VIEWER, Role.OPERATOR)
    }
    path, reason = f"/v1/alarms/{alarm.id}/acknowledge", {"reason": "new camera"}
    assert client.post(path, headers=headers[Role.VIEWER], json=reason).status_code == 403
    assert client.post(path, headers=headers[Role.OPERATOR], json={}).status_code == 422
    done = client.post(path, headers=headers[Role.OPERATOR], json=reason)
    assert done.status_code == 200
    assert done.json()["acknowledged_by"] == "ann operator"

    installation.healthy(bundle, 130)
    ingest(monitor(installation), installation.clock)
    over = client.post(path, headers=headers[Role.OPERATOR], json=reason)
    assert over.status_code == 409
    assert over.json()["error"] == "alarm_resolved"
