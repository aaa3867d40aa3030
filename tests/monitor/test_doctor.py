"""The doctor names each usual fault, and how to mend it."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.services.doctor import examine
from monitor.services.findings import Finding, Verdict
from monitor.services.ingest import ingest
from monitor.services.kill_switch import arm
from monitor.settings import Addresses, GatewayAddress, MonitorAddress, MonitorSettings
from monitor.store.bootstrap import ensure_admin_key
from monitor.store.engine import connect
from monitor.store.gateways import Gateways
from monitor.store.job_runs import JobRuns
from monitor.store.settings import StoreSettings
from tests.monitor.installation import Installation

NOBODY = Addresses(gateway=GatewayAddress(port=9), monitor=MonitorAddress(port=9))


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    made = Installation(tmp_path)
    ensure_admin_key(made.engine, tmp_path, made.clock)
    return made


def faults(installation: Installation, check: str) -> list[Finding]:
    return [
        finding
        for finding in examine(installation.monitor(), NOBODY)
        if finding.verdict is Verdict.FAULT and finding.check == check
    ]


def ran(installation: Installation, ago_s: float, error: str | None = None) -> None:
    at = datetime.now(UTC) - timedelta(seconds=ago_s)
    with installation.engine.begin() as conn:
        runs = JobRuns(conn)
        run_id = runs.start("ingest", "m1", at)
        if error is None:
            runs.succeed(run_id, "{}", at)
        else:
            runs.fail(run_id, error, at)


def test_every_fault_says_how_to_mend_it(installation: Installation) -> None:
    found = examine(installation.monitor(), NOBODY)
    assert {f.check for f in found} >= {"state store", "disk", "events", "keys", "clocks"}
    assert all(f.mend for f in found if f.verdict is Verdict.FAULT)


def test_no_model_and_no_processes_are_faults(installation: Installation) -> None:
    [unserved] = faults(installation, "bundles")
    assert "no model is served" in unserved.found
    assert "fieldwatch import" in str(unserved.mend)
    [gateway] = faults(installation, "gateways")
    assert "does not answer" in gateway.found
    [monitor] = faults(installation, "monitor")
    assert "takes events in (none has yet)" in monitor.found


def test_a_running_monitor_is_fine_and_a_failing_or_silent_one_is_not(
    installation: Installation,
) -> None:
    ran(installation, 1)
    assert faults(installation, "monitor") == []
    ran(installation, 0, error="BundleCorrupt: model.onnx has changed")
    [failing] = faults(installation, "monitor")
    assert "model.onnx has changed" in failing.found


def test_a_silent_monitor_is_found(installation: Installation) -> None:
    ran(installation, 3_600)
    [silent] = faults(installation, "monitor")
    assert "no monitor takes events in" in silent.found


def test_a_damaged_bundle_and_a_stray_one_are_told_apart(installation: Installation) -> None:
    bundle = installation.serve()
    stray = installation.settings.store.bundles / "bears" / "9-stray"
    stray.mkdir()
    (stray / "manifest.json").write_text("{}")
    assert faults(installation, "bundles") == []
    notes = [f for f in examine(installation.monitor(), NOBODY) if f.verdict is Verdict.NOTE]
    assert any("9-stray is not registered" in note.found for note in notes)

    data = bytearray((bundle.path / "model.onnx").read_bytes())
    data[0] ^= 1
    (bundle.path / "model.onnx").write_bytes(bytes(data))
    [damaged] = faults(installation, "bundles")
    assert "model.onnx" in damaged.found
    (bundle.path / "model.onnx").unlink()
    [missing] = faults(installation, "bundles")
    assert "has lost its file model.onnx" in missing.found


def test_a_stale_plan_is_found(installation: Installation) -> None:
    installation.serve()
    with installation.engine.begin() as conn:
        seen = datetime.now(UTC) - timedelta(seconds=90)
        Gateways(conn).beat("g1", "http://127.0.0.1:9", {"bears": 1}, seen)
    [stale] = faults(installation, "gateways")
    assert "its plan is stale, humans act" in stale.found


def test_a_gateway_whose_clock_is_ahead_is_found(installation: Installation) -> None:
    with installation.engine.begin() as conn:
        seen = datetime.now(UTC) + timedelta(seconds=300)
        Gateways(conn).beat("g1", "http://127.0.0.1:9", {}, seen)
    [ahead] = faults(installation, "clocks")
    assert "ahead of the database's" in ahead.found


def test_a_key_file_that_opens_nothing_or_is_open_to_others_is_found(
    installation: Installation,
) -> None:
    file = installation.settings.store.key_file
    assert faults(installation, "keys") == []
    file.chmod(0o644)
    [readable] = faults(installation, "keys")
    assert "chmod 600" in str(readable.mend)
    file.chmod(0o600)
    file.write_text("fw_other\n")
    [useless] = faults(installation, "keys")
    assert "unknown or revoked" in useless.found


def test_records_that_wait_too_long_are_found(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = installation.settings.store.spool / "g1"
    spool.mkdir(parents=True)
    for name in ("01.seg", "02.seg"):
        (spool / name).write_bytes(b"x")
    assert faults(installation, "spool") == []
    monkeypatch.setattr("monitor.services.state_checks.SPOOL_WAIT_S", -1.0)
    [stuck] = faults(installation, "spool")
    assert "records wait" in stuck.found


def test_events_that_were_taken_in_and_are_gone_are_missed(installation: Installation) -> None:
    bundle = installation.serve()
    installation.healthy(bundle, 12)
    ingest(installation.monitor(), installation.clock)
    assert faults(installation, "events") == []

    shutil.rmtree(installation.settings.store.events)
    [deleted] = faults(installation, "events")
    assert "12 of the 12 events of bears that the monitor took in are gone" in deleted.found
    installation.healthy(bundle, 5)
    [made_anew] = faults(installation, "events")
    assert "7 of the 12 events" in made_anew.found


def test_an_armed_latch_and_the_kill_file_are_noted(installation: Installation) -> None:
    arm(installation.engine, None, "ann", "smoke", installation.clock)
    installation.settings.store.kill_file.touch()
    found = [f.found for f in examine(installation.monitor(), NOBODY) if f.check == "kill"]
    assert any("killed by ann: smoke" in each for each in found)
    assert any("KILL exists" in each for each in found)


def test_a_stale_schema_and_an_absent_installation_are_named(installation: Installation) -> None:
    with installation.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    [stale] = faults(installation, "state store")
    assert "fieldwatch db upgrade" in stale.found

    settings = MonitorSettings(store=StoreSettings(home=installation.settings.store.home / "no"))
    other = installation.monitor(engine=connect(settings.store))
    nothing = examine(replace(other, settings=settings), NOBODY)
    assert "there is no installation" in nothing[0].found
    assert {finding.check for finding in nothing} <= {"state store", "disk"}
