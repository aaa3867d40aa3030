"""Jobs that fail harm nobody else; notices reach each target once, and a dead target no other."""

import json
import logging
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr, ValidationError

from monitor.domain import StreamName
from monitor.errors import NotDelivered, StoreUnreachable
from monitor.jobs import Job, Ticker, forget_runs, run_once, schedule
from monitor.metrics.jobs import JobMetrics
from monitor.notify import AppriseTarget, LogTarget, Notice, Target, open_targets, target_name
from monitor.services.deliver import deliver
from monitor.services.ingest import ingest
from monitor.settings import DetectorOptions, MonitorOptions
from monitor.store.engine import reading
from monitor.store.job_runs import JobRuns, RunStatus
from monitor.store.outbox import Outbox
from monitor.store.schema import outbox
from tests.monitor.installation import Installation

URL = SecretStr("json://127.0.0.1:9/secret-token")


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


@dataclass
class Recording:
    """A target that keeps what it is given, or fails a number of times first."""

    name: str
    failures: int = 0
    fault: Exception | None = None

    def __post_init__(self) -> None:
        self.got: list[Notice] = []

    def deliver(self, notice: Notice) -> None:
        if self.failures:
            self.failures -= 1
            raise self.fault or NotDelivered(self.name)
        self.got.append(notice)


def with_alarm(installation: Installation) -> None:
    bundle = installation.serve()
    installation.novel(bundle, 30)
    ingest(installation.monitor(), installation.clock)


def make_due(installation: Installation) -> None:
    with installation.engine.begin() as conn:
        conn.execute(outbox.update().values(not_before=installation.clock - timedelta(days=1)))


def test_a_job_that_fails_is_counted_recorded_and_goes_no_further(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry()
    context = installation.monitor()

    def explode() -> None:
        raise ZeroDivisionError("boom")

    metrics = JobMetrics(registry)
    with caplog.at_level(logging.CRITICAL):
        assert run_once(Job(name="bad", every_s=1, work=explode), context, metrics) is False
    assert run_once(Job(name="good", every_s=1, work=lambda: {"n": 1}), context, metrics) is True

    labels = {"job": "bad", "outcome": "failed"}
    assert registry.get_sample_value("fieldwatch_job_runs_total", labels) == 1
    assert registry.get_sample_value("fieldwatch_job_seconds_count", {"job": "good"}) == 1
    with reading(installation.engine) as conn:
        last = JobRuns(conn).last()
    assert (last["bad"].status, last["bad"].error) == (RunStatus.FAILED, "ZeroDivisionError: boom")
    assert (last["good"].status, last["good"].summary) == (RunStatus.SUCCEEDED, '{"n":1}')


def test_a_job_survives_a_store_that_cannot_take_its_outcome(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    def unreachable() -> None:
        raise StoreUnreachable("db", "gone")

    with installation.engine.begin() as conn:
        conn.exec_driver_sql("DROP TABLE job_runs")
    with caplog.at_level(logging.CRITICAL):
        metrics = JobMetrics(CollectorRegistry())
        job = Job(name="ingest", every_s=1, work=unreachable)
        assert run_once(job, installation.monitor(), metrics) is False


def test_the_schedule_runs_every_job_and_stops_when_told(installation: Installation) -> None:
    registry = CollectorRegistry()
    context = installation.monitor()
    jobs = {job.name for job in schedule(context)}
    assert jobs == {
        "ingest",
        "assess",
        "advance",
        "deliver",
        "gauge",
        "compact",
        "queue",
        "trial",
        "report",
        "retain",
        "forget_runs",
        "forget_signals",
    }

    ticker = Ticker(context, JobMetrics(registry))
    ticker.start()
    ticker.stop()
    ticker.stop()
    for job in jobs:
        labels = {"job": job, "outcome": "failed"}
        assert registry.get_sample_value("fieldwatch_job_runs_total", labels) == 0
    assert forget_runs(context) == 0


def test_each_target_is_told_once_and_a_dead_one_holds_up_no_other(tmp_path: Path) -> None:
    options = MonitorOptions(
        notify_urls=(URL,),
        detectors=DetectorOptions(clock="episodes", false_alarm_episodes=300),
    )
    installation = Installation(tmp_path, options)
    with_alarm(installation)
    log, dead = Recording("log"), Recording(target_name(URL), failures=2, fault=OSError("down"))
    targets: dict[str, Target] = {log.name: log, dead.name: dead}

    first = deliver(installation.monitor(), targets)
    assert (first.delivered, first.failed) == (1, 1)
    assert "down" in first.faults[0]
    assert deliver(installation.monitor(), targets).failed == 0  # not due yet

    make_due(installation)
    assert deliver(installation.monitor(), targets).failed == 1
    make_due(installation)
    assert deliver(installation.monitor(), targets).delivered == 1
    assert [notice.key for notice in log.got] == [notice.key for notice in dead.got]
    assert len(log.got) == 1
    with reading(installation.engine) as conn:
        assert Outbox(conn).backlog().pending == 0


def test_a_target_no_longer_configured_is_a_failure_one_can_see(
    installation: Installation,
) -> None:
    with_alarm(installation)
    done = deliver(installation.monitor(), {})
    assert done.faults == (str(NotDelivered("log", "it is no longer configured")),)


def test_a_notice_says_what_happened_and_where_to_look(installation: Installation) -> None:
    with_alarm(installation)
    log = Recording("log")
    deliver(installation.monitor(), {"log": log})

    [notice] = log.got
    assert notice.title == "bears 1: novelty alarm opened (ticket)"
    assert "5% expected of healthy inputs" in notice.body
    assert "most like train/" in notice.body
    assert f"fieldwatch alarms show {notice.fields['alarm']}" in notice.body


def test_the_log_line_is_json(caplog: pytest.LogCaptureFixture) -> None:
    notice = Notice(key="k", title="t", body="b", fields={"kind": "novelty"})
    LogTarget().deliver(notice)
    assert json.loads(caplog.messages[0]) == {
        "event": "notice",
        "key": "k",
        "kind": "novelty",
        "title": "t",
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning:apprise.*")
def test_an_apprise_target_that_is_away_is_an_error_without_its_secret() -> None:
    target = AppriseTarget(URL)
    assert "secret" not in target.name
    with pytest.raises(NotDelivered) as failure:
        target.deliver(Notice(key="k", title="t", body="b", fields={}))
    assert "secret" not in str(failure.value)
    with pytest.raises(ValueError, match="nonsense: is not one Apprise understands"):
        open_targets([SecretStr("nonsense://x")])


def test_shares_that_overspend_the_budget_are_refused() -> None:
    with pytest.raises(ValidationError, match="overspend"):
        DetectorOptions(weights={StreamName.SEMANTIC: 0.6, StreamName.DOMAIN: 0.6})
    with pytest.raises(ValidationError, match="above 0"):
        DetectorOptions(weights={StreamName.SEMANTIC: 0.0})


def test_one_budget_of_time_is_shared_by_all_models() -> None:
    options = DetectorOptions()
    alone = options.log_threshold(0.4)
    assert options.log_threshold(0.1) == pytest.approx(alone + 1.3863, abs=1e-4)
