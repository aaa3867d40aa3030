"""Reports: made once when they are due, whatever becomes of the process that makes them."""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from pyarrow import parquet

from monitor.domain import Stage
from monitor.errors import NotFound, ReportFailed
from monitor.jobs import Ticker, schedule
from monitor.metrics.jobs import REPORT_OUTCOMES, JobMetrics
from monitor.reports import process
from monitor.reports.job import (
    JOB,
    OUTCOME,
    PAGE,
    REFERENCE,
    WINDOW,
    WORKSPACE,
    ColumnVerdict,
    Job,
    Made,
    Subject,
    Verdict,
    overall,
)
from monitor.reports.process import Failed, Failure
from monitor.reports.shelf import Entry, Shelf, project_of
from monitor.reports.thresholds import compare
from monitor.services.reports.make import Reporting, make, make_due
from monitor.settings import DetectorOptions, MonitorOptions, ReportOptions
from monitor.store.decisions import Decisions, NewDecision
from monitor.store.engine import reading
from monitor.store.windows import Windows, WindowStatus
from tests.monitor.installation import START, VOCAB, Installation, held_out_rows

EVERY_S = 3_600
OPTIONS = MonitorOptions(
    detectors=DetectorOptions(clock="episodes", false_alarm_episodes=300),
    reports=ReportOptions(every_s=EVERY_S, hours=48, keep=3, time_limit_s=5),
)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path, OPTIONS)


def comparing(folder: Path) -> Made:
    """Stand in for the process: everything but Evidently."""
    job = msgspec.json.decode((folder / JOB).read_bytes(), type=Job)
    tables = [parquet.read_table(folder / name) for name in (REFERENCE, WINDOW)]
    columns = compare(
        job.columns,
        *tables,
        fewest_reference=job.fewest_reference,
        fewest_window=job.fewest_window,
        level=job.level,
        draws=199,
        rng=np.random.default_rng(job.seed),
    )
    snapshots = folder / WORKSPACE / job.project / "snapshots"
    snapshots.mkdir(parents=True)
    name = f"s{len(columns)}-{job.seed}"
    (snapshots / f"{name}.json").write_text("{}")
    (snapshots.parent / "metadata.json").write_text("{}")
    (folder / PAGE).write_text("<html></html>")
    return Made(columns=columns + job.unknown, snapshot=name, evidently="0")


class Told:
    """Remembers outcomes."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []

    def __call__(self, outcome: str) -> None:
        self.outcomes.append(outcome)


def ready(installation: Installation, events: int = 60) -> None:
    bundle = installation.serve(more=held_out_rows())
    if events:
        installation.record(
            [installation.event(bundle, segment={"site": "north"}) for _ in range(events)]
        )


def after(installation: Installation) -> datetime:
    return installation.clock + timedelta(seconds=1)


def column(entry: Entry, name: str) -> ColumnVerdict:
    return next(each for each in entry.columns if each.name == name)


def test_healthy_traffic_shows_no_drift_and_a_dark_camera_is_named(
    installation: Installation,
) -> None:
    ready(installation, events=0)
    bundle = installation.serve(more=held_out_rows())
    dark = [
        installation.event(bundle, brightness=0.1, segment={"site": f"s{n % 2}"}) for n in range(60)
    ]
    installation.record(dark)
    found = make(installation.monitor(), "bears", after(installation), comparing)
    assert isinstance(found, Entry)
    assert found.verdict is Verdict.DRIFT
    assert column(found, "property.brightness").verdict is Verdict.DRIFT
    assert column(found, "property.width").verdict is Verdict.NO_DRIFT
    assert column(found, "p_semantic").verdict is Verdict.NO_DRIFT
    # A site that came with a request and that training did not hold is nobody's name.
    assert column(found, "segment.site").verdict is Verdict.DRIFT
    assert "property.brightness" in found.headline
    assert any("property.rare is left out" in note for note in found.subject.notes)


def test_too_few_episodes_are_inconclusive_and_start_no_process(installation: Installation) -> None:
    def never(_: Path) -> Made:
        raise AssertionError("no process is needed")

    ready(installation, events=12)
    found = make(installation.monitor(), "bears", after(installation), never)
    assert isinstance(found, Entry)
    assert (found.verdict, found.snapshot) == (Verdict.INCONCLUSIVE, None)
    shelf = Shelf(installation.settings.store.reports)
    assert "12 episodes came in" in shelf.page("bears", found.id).read_text()


def test_a_sealed_prediction_is_in_no_table_until_people_decided(
    installation: Installation,
) -> None:
    bundle = installation.serve(more=held_out_rows())
    sealed = [
        msgspec.structs.replace(
            installation.event(bundle), commitment="c" * 64, nonce=b"n" * 32, stage=Stage.SHADOW
        )
        for _ in range(50)
    ]
    installation.record(sealed)
    seen: list[int] = []

    def looking(folder: Path) -> Made:
        window = parquet.read_table(folder / WINDOW)
        names = set(window.column_names)
        assert not names & {"event_id", "unit", "case_id", "nonce", "commitment", "input_sha256"}
        seen.extend(
            window.num_rows - window[name].null_count
            for name in ("prediction", "confidence", "p_semantic", "p_domain")
        )
        return comparing(folder)

    found = make(installation.monitor(), "bears", after(installation), looking)
    assert isinstance(found, Entry)
    assert seen == [0, 0, 0, 0]
    assert found.verdict is Verdict.INCONCLUSIVE
    assert column(found, "confidence").verdict is Verdict.INCONCLUSIVE
    assert column(found, "property.brightness").verdict is Verdict.NO_DRIFT
    assert "50 predictions are sealed" in found.subject.notes[-1]

    decide(installation, [event.event_id for event in sealed[:40]])
    seen.clear()
    make(installation.monitor(), "bears", after(installation), looking)
    assert seen == [40, 40, 40, 40]


def decide(installation: Installation, events: Sequence[str]) -> None:
    with installation.engine.begin() as conn:
        for event_id in events:
            decided = NewDecision(
                model="bears",
                event_id=event_id,
                case_id=None,
                label=VOCAB[0],
                decided_by="ann",
                decided_at=installation.clock,
                source="test",
                inclusion_probability=None,
                key=event_id,
                content=event_id,
            )
            Decisions(conn).add(
                decided, revision=1, supersedes=None, by="test", now=installation.clock
            )


def test_a_bundle_without_a_promise_has_nothing_said_of_its_predictions(
    installation: Installation,
) -> None:
    bundle = installation.serve(certified=False, more=held_out_rows())
    installation.record([installation.event(bundle) for _ in range(60)])
    found = make(installation.monitor(), "bears", after(installation), comparing)
    assert isinstance(found, Entry)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "--split unknown" in (column(found, "confidence").reason or "")


def test_a_due_report_is_made_once_by_one_of_two_monitors(installation: Installation) -> None:
    ready(installation)
    started, release = threading.Event(), threading.Event()

    def slow(folder: Path) -> Made:
        started.set()
        assert release.wait(10)
        return comparing(folder)

    one, other, told = installation.monitor(), installation.monitor(owner="m2"), Told()
    work = threading.Thread(target=lambda: make_due(one, Reporting(runner=slow, told=told)))
    work.start()
    assert started.wait(10)
    assert make_due(other, Reporting(runner=comparing, told=told)).made == 0
    release.set()
    work.join()
    assert make_due(other, Reporting(runner=comparing, told=told)).made == 0
    assert len(told.outcomes) == 1
    assert len(Shelf(installation.settings.store.reports).entries("bears")) == 1


@pytest.mark.parametrize("failure", [Failure.TIMEOUT, Failure.MEMORY, Failure.FAILED])
def test_a_failure_is_counted_told_and_tried_again_later(
    installation: Installation, failure: Failure
) -> None:
    ready(installation)
    registry = CollectorRegistry()
    metrics, context = JobMetrics(registry), installation.monitor()

    def fails(_: Path) -> Failed:
        return Failed(failure=failure, message="it ate a bear")

    reporting = Reporting(runner=fails, told=metrics.reported)
    with pytest.raises(ReportFailed, match="ate a bear"):
        make_due(context, reporting)
    labels = {"outcome": failure.value}
    assert registry.get_sample_value("fieldwatch_report_runs_total", labels) == 1
    with reading(installation.engine) as conn:
        row = Windows(conn).newest("report", "bears")
        assert Windows(conn).last_finished("report", "bears") is None
    assert row is not None
    assert (row.status, row.last_error) == (WindowStatus.PENDING, "it ate a bear")
    assert make_due(context, reporting).made == 0  # not before its pause is over
    assert list(installation.settings.store.reports.glob(".making-*")) == []


def test_a_report_given_up_for_a_stop_is_left_for_the_next_monitor(
    installation: Installation,
) -> None:
    ready(installation)

    def stopped(_: Path) -> Failed:
        return Failed(failure=Failure.STOPPED, message="the monitor is stopping")

    told = Told()
    assert make_due(installation.monitor(), Reporting(runner=stopped, told=told)).made == 0
    assert told.outcomes == []
    assert make_due(installation.monitor(), Reporting(runner=comparing, told=told)).made == 1


def test_every_outcome_has_its_series_from_the_start() -> None:
    registry = CollectorRegistry()
    JobMetrics(registry)
    told = {*Verdict, *Failure} - {Failure.STOPPED}
    assert told == set(REPORT_OUTCOMES)
    for outcome in told:
        labels = {"outcome": outcome}
        assert registry.get_sample_value("fieldwatch_report_runs_total", labels) == 0


def test_old_reports_go_with_their_pages_and_snapshots(installation: Installation) -> None:
    ready(installation)
    context = installation.monitor()
    end = datetime.now(UTC).replace(microsecond=0)
    for hour in range(5):
        make(context, "bears", end - timedelta(minutes=5 - hour), comparing)
    shelf = Shelf(installation.settings.store.reports)
    kept = shelf.entries("bears")
    assert [each.subject.until for each in kept] == [end - timedelta(minutes=m) for m in (1, 2, 3)]
    folder = installation.settings.store.reports
    assert len(list((folder / "pages" / "bears").iterdir())) == 2 * len(kept)
    snapshots = folder / "workspace" / project_of("bears") / "snapshots"
    assert {each.stem for each in snapshots.iterdir()} == {each.snapshot for each in kept}
    with pytest.raises(NotFound):
        shelf.page("bears", "../../admin")


def test_overall_one_drift_is_drift_and_one_unknown_leaves_all_unknown() -> None:
    def of(*verdicts: Verdict) -> Verdict:
        return overall(
            tuple(
                ColumnVerdict(name=str(n), verdict=v, reference_rows=0, window_rows=0)
                for n, v in enumerate(verdicts)
            )
        )

    assert of() is Verdict.INCONCLUSIVE
    assert of(Verdict.NO_DRIFT, Verdict.INCONCLUSIVE) is Verdict.INCONCLUSIVE
    assert of(Verdict.NO_DRIFT, Verdict.INCONCLUSIVE, Verdict.DRIFT) is Verdict.DRIFT
    assert of(Verdict.NO_DRIFT) is Verdict.NO_DRIFT


CHILDREN = {
    "hangs": "import time; time.sleep(60)",
    "crashes": "import os; os.abort()",
    "exits": "import sys; sys.exit('no such column')",
    "is killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "says nothing": "pass",
}
FAILURES = {
    "hangs": (Failure.TIMEOUT, "killed after"),
    "crashes": (Failure.FAILED, "SIGABRT"),
    "exits": (Failure.FAILED, "no such column"),
    "is killed": (Failure.MEMORY, "want of memory"),
    "says nothing": (Failure.FAILED, "status 0"),
}


@pytest.mark.parametrize("how", CHILDREN)
def test_whatever_the_process_does_ends_in_a_value(tmp_path: Path, how: str) -> None:
    command = (sys.executable, "-S", "-c", CHILDREN[how])
    found = process.run(tmp_path, seconds=0.3 if how == "hangs" else 10, command=command)
    assert isinstance(found, Failed)
    assert found.failure is FAILURES[how][0]
    assert FAILURES[how][1] in found.message


OVERREACHING = {
    "memory": ("bytearray(4 << 30)", Failure.MEMORY, "1,024 MiB of memory"),
    "network": ("__import__('socket').socket()", Failure.FAILED, "PermissionError"),
}


@pytest.mark.servers
@pytest.mark.parametrize("what", OVERREACHING)
def test_a_report_gets_no_more_memory_than_it_may_and_no_network(tmp_path: Path, what: str) -> None:
    reach, failure, said = OVERREACHING[what]
    ready_job(tmp_path)
    script = (
        "import sys; from pathlib import Path; from monitor.reports import child; "
        f"child.make = lambda job, folder: {reach}; sys.exit(child.main(Path(sys.argv[1])))"
    )
    found = process.run(tmp_path, seconds=60, command=(sys.executable, "-c", script))
    assert isinstance(found, Failed)
    assert found.failure is failure
    assert said in found.message


def ready_job(folder: Path) -> None:
    job = Job(
        subject=Subject(
            model="bears",
            version="1",
            bundle_sha="0" * 64,
            since=START,
            until=START,
            answered=0,
            sampled=0,
        ),
        made_at=START,
        columns=(),
        fewest_reference=100,
        fewest_window=30,
        level=0.05,
        draws=199,
        seed=1,
        memory_bytes=1 << 30,
        project=project_of("bears"),
    )
    (folder / JOB).write_bytes(msgspec.json.encode(job))


def test_the_process_gets_no_secret_and_no_telemetry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIELDWATCH_KEY", "fw_secret")
    told = f"import os, sys; open(sys.argv[1] + '/{OUTCOME}', 'w').write(str(dict(os.environ)))"
    process.run(tmp_path, seconds=10, command=(sys.executable, "-S", "-c", told))
    said = (tmp_path / OUTCOME).read_text()
    assert "secret" not in said
    assert "'DO_NOT_TRACK': '1'" in said


def test_other_jobs_go_on_in_time_while_a_report_hangs_and_stopping_ends_it(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(installation)
    command = (sys.executable, "-S", "-c", CHILDREN["hangs"])
    hanging: Callable[..., Made | Failed] = lambda folder, *, seconds, stop=None: real(  # noqa: E731
        folder, seconds=60, stop=stop, command=command
    )
    real = process.run
    monkeypatch.setattr(process, "run", hanging)
    monkeypatch.setattr(process, "installed", lambda: True)
    registry = CollectorRegistry()
    context = installation.monitor()
    ticker = Ticker(context, JobMetrics(registry))
    ticker.start()
    try:
        making = installation.settings.store.reports
        assert eventually(lambda: bool(list(making.glob(".making-*/home"))))
        quick = [job.name for job in schedule(context) if job.name not in {"report", "gauge"}]
        assert eventually(
            lambda: all(
                registry.get_sample_value("fieldwatch_job_seconds_count", {"job": name})
                for name in quick
            )
        )
    finally:
        began = time.monotonic()
        ticker.stop()
    assert time.monotonic() - began < 10
    with reading(installation.engine) as conn:
        row = Windows(conn).newest("report", "bears")
    assert row is not None
    assert (row.status, row.attempts) == (WindowStatus.PENDING, 0)


def eventually(true: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.05)
    return False
