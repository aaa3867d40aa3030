"""A kill takes effect on every gateway within two seconds, whether or not a monitor runs."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from monitor.domain import Role, Stage
from monitor.rollouts.snapshot import BUCKETS, Lever
from monitor.store.engine import connect, reading
from monitor.store.kill_latches import KillLatches
from tests.inference.conftest import free_port, wait_for
from tests.inference.tiny_model import Installation, encoded, install, make_bundle, picture

pytestmark = pytest.mark.servers

GIVEN_UP_S = 10.0
"""The promise is two seconds on a machine with room; a busy one may fail nobody's build."""


@contextmanager
def gateway(home: Path, name: str) -> Iterator[str]:
    """Run a gateway as a process of its own; give its address."""
    port = free_port()
    variables = {
        "FIELDWATCH_HOME": str(home),
        "FIELDWATCH_GATEWAY__ID": name,
        "FIELDWATCH_GATEWAY__PORT": str(port),
    }
    child = subprocess.Popen([sys.executable, "-m", "inference"], env={**os.environ, **variables})
    url = f"http://127.0.0.1:{port}"

    def is_ready() -> bool:
        try:
            return httpx.get(f"{url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_for(is_ready, timeout_s=90)
        yield url
    finally:
        child.terminate()
        child.wait(30)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Make an installation whose model acts on everything; there is no monitor."""
    home = tmp_path_factory.mktemp("home")
    made = install(home)
    bundle = make_bundle(home / "bundles")
    made.serve(bundle)
    made.publish(
        bundle,
        stage=Stage.GRADUAL,
        exposed_buckets=BUCKETS,
        levers=(Lever(prediction="red", action="stop"),),
        out_of_domain_guard=False,
    )
    return made


@pytest.fixture(scope="module")
def gateways(installation: Installation) -> Iterator[list[str]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(gateway(installation.store.home, name)) for name in ("one", "two")
        ]


class Crossing:
    """Pictures that keep coming, at every gateway in turn."""

    def __init__(self, client: httpx.Client, gateways: list[str]) -> None:
        self._client = client
        self._gateways = gateways
        self._file = encoded(picture())

    def actions(self) -> list[str | None]:
        return [self._ask(url) for url in self._gateways]

    def acted_until(self) -> datetime:
        """Send until no gateway acts; return when one last did."""
        last, deadline = datetime.min.replace(tzinfo=UTC), time.monotonic() + 60
        while any(self.actions()):
            last = datetime.now(UTC)
            assert time.monotonic() < deadline, "gateways act on whatever is armed"
        return last

    def _ask(self, url: str) -> str | None:
        answer = self._client.post(
            f"{url}/predict", files={"file": ("x", self._file)}, data={"unit": "cam-1"}
        )
        action: str | None = answer.json()["action"]
        return action


def by_command(installation: Installation, verb: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "monitor.cli", "rollout", verb, "--reason", "smoke"],
        env={**os.environ, "FIELDWATCH_HOME": str(installation.store.home)},
        check=True,
        capture_output=True,
        timeout=120,
    )


def arm_by_command(installation: Installation) -> datetime:
    by_command(installation, "kill")
    engine = connect(installation.store)
    with reading(engine) as conn:
        [latch] = KillLatches(conn).armed()
    engine.dispose()
    return latch.armed_at


def arm_by_file(installation: Installation) -> datetime:
    installation.store.kill_file.touch()
    return datetime.now(UTC)


@pytest.mark.parametrize("arm", [arm_by_file, arm_by_command])
def test_a_kill_stops_every_gateway_with_no_monitor_running(
    installation: Installation,
    gateways: list[str],
    arm: Callable[[Installation], datetime],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with httpx.Client(
        headers={"X-API-Key": installation.tokens[Role.SERVICE]}, timeout=30
    ) as client:
        crossing = Crossing(client, gateways)
        wait_for(lambda: crossing.actions() == ["stop", "stop"])
        with ThreadPoolExecutor(1) as pool:
            acted_until = pool.submit(crossing.acted_until)
            armed_at = arm(installation)
            took = (acted_until.result() - armed_at).total_seconds()
    with capsys.disabled():
        # To the errors' stream, which is seen from a worker of parallel tests too.
        told = f"\n{arm.__name__}: the last action came {took:.2f} s after it"
        print(told, file=sys.stderr)  # noqa: T201
    installation.store.kill_file.unlink(missing_ok=True)
    assert took < GIVEN_UP_S
