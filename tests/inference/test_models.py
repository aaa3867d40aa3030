"""Only registered bundles are served, and only as they were registered."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from monitor.domain import Role
from monitor.rollouts.kill import EVERYTHING, KillScope
from monitor.store.engine import connect
from monitor.store.gateways import Gateways
from monitor.store.kill_latches import KillLatches
from reference_data.bundle import Bundle
from tests.inference.conftest import STRANGER, Gateway, serving, wait_for
from tests.inference.tiny_model import NOW, encoded, make_bundle, picture


def flip_a_byte(bundle: Bundle) -> None:
    path = bundle.path / "model.onnx"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)


def lose_a_file(bundle: Bundle) -> None:
    (bundle.path / "scores.npz").unlink()


def lose_the_manifest(bundle: Bundle) -> None:
    (bundle.path / "manifest.json").unlink()


def change_the_manifest(bundle: Bundle) -> None:
    path = bundle.path / "manifest.json"
    path.write_bytes(path.read_bytes() + b" ")


def predicted(gateway: Gateway) -> httpx.Response:
    return gateway.client.post("/predict", files={"file": ("x", encoded(picture()))})


def reason(gateway: Gateway) -> str:
    [state] = gateway.client.get("/v1/models").json()["models"]
    return str(state["reason"] or "")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (flip_a_byte, "model.onnx"),
        (lose_a_file, "scores.npz"),
        (lose_the_manifest, "manifest.json"),
        (change_the_manifest, "manifest.json"),
    ],
)
def test_a_spoilt_bundle_is_refused_by_its_file_and_the_previous_one_serves_on(
    tmp_path: Path, spoil: Callable[[Bundle], None], sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(tmp_path) as gateway:
        second = make_bundle(tmp_path / "bundles", version="2")
        spoil(second)
        gateway.installation.serve(second)
        wait_for(lambda: sentence in reason(gateway))
        assert predicted(gateway).json()["version"] == "1"
        ready = STRANGER.get(f"{gateway.url}/readyz")
        assert ready.status_code == 200
        assert sentence in ready.json()["degraded"][0]
        assert sentence in gateway.client.get("/v2/models/colours/ready").json()["reason"]
        assert any(sentence in record.getMessage() for record in caplog.records)
        gauge = gateway.context.metrics.registry.get_sample_value
        assert gauge("fieldwatch_model_ready", {"model": "colours"}) == 0


def test_a_new_route_is_taken_up_without_a_request_lost(tmp_path: Path) -> None:
    with serving(tmp_path) as gateway:
        gateway.installation.serve(make_bundle(tmp_path / "bundles", version="2"))
        versions: list[str] = []
        while "2" not in versions:
            answer = predicted(gateway)
            assert answer.status_code == 200
            versions.append(answer.json()["version"])
            assert len(versions) < 2000
        engine = connect(gateway.installation.store)

        def taken_up() -> bool:
            with engine.connect() as conn:
                return Gateways(conn).all()[0].epochs == {"colours": 2}

        wait_for(taken_up)
        engine.dispose()


def test_a_withdrawn_bundle_is_not_served_any_more(tmp_path: Path) -> None:
    with serving(tmp_path) as gateway:
        gateway.installation.withdraw(gateway.bundle)
        wait_for(lambda: predicted(gateway).status_code == 503)
        body = predicted(gateway).json()
        assert body["error"] == "not_ready"
        assert "withdrawn by ann" in body["detail"]
        event = gateway.event(body["event_id"])
        assert (event["status"], event["cause"]) == ("error", "not_ready")
        ready = STRANGER.get(f"{gateway.url}/readyz")
        assert ready.status_code == 503
        assert "withdrawn" in ready.json()["missing"][0]
        assert STRANGER.get(f"{gateway.url}/healthz").status_code == 200
        for path in ("/healthz", "/v2/health/live"):
            assert STRANGER.head(f"{gateway.url}{path}").status_code == 200
        for path in ("/readyz", "/v2/health/ready"):
            assert STRANGER.head(f"{gateway.url}{path}").status_code == ready.status_code


def test_a_restored_bundle_is_served_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.models.RETRY_S", 0.1)
    with serving(tmp_path) as gateway:
        second = make_bundle(tmp_path / "bundles", version="2")
        backup = tmp_path / "backup"
        shutil.copytree(second.path, backup)
        flip_a_byte(second)
        gateway.installation.serve(second)
        wait_for(lambda: "model.onnx" in reason(gateway))
        shutil.copy(backup / "model.onnx", second.path / "model.onnx")
        wait_for(lambda: predicted(gateway).json()["version"] == "2")


def test_two_models_must_be_told_apart(tmp_path: Path) -> None:
    with serving(tmp_path) as gateway:
        gateway.installation.serve(make_bundle(tmp_path / "bundles", name="shades"))
        wait_for(lambda: STRANGER.get(f"{gateway.url}/readyz").json()["ready"])
        wait_for(lambda: predicted(gateway).status_code == 400)
        body = predicted(gateway).json()
        assert body["error"] == "missing_field"
        assert "colours, shades" in body["detail"]


def test_a_kill_reaches_the_answers_by_latch_and_by_file(tmp_path: Path) -> None:
    with serving(tmp_path) as gateway:
        (gateway.installation.store.home / "KILL").touch()
        wait_for(lambda: predicted(gateway).json()["reason"] == "killed")
        (gateway.installation.store.home / "KILL").unlink()
        wait_for(lambda: predicted(gateway).json()["reason"] == "no_plan")
        engine = connect(gateway.installation.store)
        with engine.begin() as conn:
            KillLatches(conn).arm(KillScope.INSTALLATION, EVERYTHING, "ann", "smoke", NOW)
        engine.dispose()
        wait_for(lambda: predicted(gateway).json()["reason"] == "killed")


def test_a_revoked_key_opens_nothing_after_the_next_poll(tmp_path: Path) -> None:
    from monitor.store.keys import Keys

    with serving(tmp_path) as gateway:
        engine = connect(gateway.installation.store)
        with engine.begin() as conn:
            [key] = [k for k in Keys(conn).listed() if k.person.role is Role.SERVICE]
            Keys(conn).revoke(key.id, NOW)
        engine.dispose()
        wait_for(lambda: predicted(gateway).status_code == 401)


def test_the_gateway_loads_no_training_and_no_heavy_library() -> None:
    code = (
        "import sys, inference.__main__ as m; m.lighten();"
        "import inference.app, pyarrow; pyarrow.array([1]);"
        "print([n for n in ('torch', 'fastai', 'pandas', 'scipy', 'sklearn', 'onnx', 'apscheduler',"
        "'evidently', 'alembic', 'typer', 'matplotlib') if sys.modules.get(n)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
