"""`kill -9` of a serving gateway: whatever was answered as recorded is in the store, once."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from monitor.domain import Role
from monitor.store.events import EventLog
from tests.inference.conftest import STRANGER, free_port, wait_for
from tests.inference.tiny_model import encoded, install, make_bundle, picture

pytestmark = pytest.mark.servers


@contextmanager
def process(home: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    variables = {
        "FIELDWATCH_HOME": str(home),
        "FIELDWATCH_GATEWAY__ID": "gw",
        "FIELDWATCH_GATEWAY__PORT": str(port),
        "FIELDWATCH_GATEWAY__SPOOL__SEND_EVERY_S": "0.1",
    }
    child = subprocess.Popen([sys.executable, "-m", "inference"], env={**os.environ, **variables})
    try:
        wait_for(lambda: ready(port), timeout_s=60)
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
        child.wait(30)


def ready(port: int) -> bool:
    try:
        return STRANGER.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def send_until_killed(port: int, key: str, answered: list[str]) -> None:
    files = {"file": ("x", encoded(picture()))}
    with httpx.Client(headers={"X-API-Key": key}) as client:
        while True:
            try:
                answer = client.post(f"http://127.0.0.1:{port}/predict", files=files)
            except httpx.TransportError:
                return
            body = answer.json()
            if answer.status_code == 200 and body["reason"] != "not_recorded":
                answered.append(body["event_id"])


def test_kill_9_in_mid_traffic_loses_and_doubles_no_answered_event(tmp_path: Path) -> None:
    rng = random.Random(3)
    installation = install(tmp_path)
    installation.serve(make_bundle(tmp_path / "bundles"))
    key, port = installation.tokens[Role.SERVICE], free_port()
    answered: list[str] = []
    for _ in range(3):
        with process(tmp_path, port) as child:
            clients = [
                threading.Thread(target=send_until_killed, args=(port, key, answered))
                for _ in range(4)
            ]
            for client in clients:
                client.start()
            time.sleep(rng.uniform(0.3, 0.9))
            child.send_signal(signal.SIGKILL)
            for client in clients:
                client.join()
    with process(tmp_path, port):
        pass  # it sends what the killed ones left, and ends in order
    events = EventLog(installation.store.events).recent(
        None, 1_000_000, columns=["event_id", "seq"]
    )
    arrived = events["event_id"].to_pylist()
    assert len(answered) > 50
    assert len(arrived) == len(set(arrived))
    assert set(answered) <= set(arrived)
    assert sorted(events["seq"].to_pylist()) == list(range(1, len(arrived) + 1))


def test_a_second_gateway_with_the_same_id_does_not_start(tmp_path: Path) -> None:
    installation = install(tmp_path)
    installation.serve(make_bundle(tmp_path / "bundles"))
    with process(tmp_path, free_port()):
        second = subprocess.run(
            [sys.executable, "-m", "inference"],
            env={
                **os.environ,
                "FIELDWATCH_HOME": str(tmp_path),
                "FIELDWATCH_GATEWAY__ID": "gw",
                "FIELDWATCH_GATEWAY__PORT": str(free_port()),
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert second.returncode != 0
    assert "in use by another gateway" in second.stderr


def test_a_setting_nobody_knows_is_named(tmp_path: Path) -> None:
    config = tmp_path / "fieldwatch.toml"
    config.write_text("[gateway]\nprot = 8000\n")
    done = subprocess.run(
        [sys.executable, "-m", "inference", "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "prot" in done.stderr
