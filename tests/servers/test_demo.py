"""The demo's story, played by the real commands and processes; then played again under fire."""

import json
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.servers, pytest.mark.torch]


def start_demo(home: Path, seed: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "monitor.cli", "--debug", "demo", "--check", "--json"),
            *("--seed", str(seed), "--home", str(home)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_child(demo: subprocess.Popen[str], module: str) -> psutil.Process | None:
    """Find the gateway or the monitor once it serves; None when the demo has ended."""
    while demo.poll() is None:
        with suppress(psutil.Error):
            for child in psutil.Process(demo.pid).children(recursive=True):
                if serves(child, module):
                    return child
        time.sleep(0.1)
    return None


def serves(process: psutil.Process, module: str) -> bool:
    # One that was just killed has neither a command line nor sockets any more.
    with suppress(psutil.Error):
        if module in process.cmdline():
            states = [each.status for each in process.net_connections("tcp")]
            return psutil.CONN_LISTEN in states
    return False


def test_the_story_comes_true_and_every_answer_is_in_the_record(tmp_path: Path) -> None:
    demo = start_demo(tmp_path / "home", seed=1)
    told, remarks = demo.communicate(timeout=420)
    assert demo.returncode == 0, remarks[-3000:]
    story = json.loads(told)
    assert story["came_true"]
    assert [phase["came_true"] for phase in story["phases"]] == [True] * 4
    assert story["answered"] == story["recorded"] == 580


def test_killing_either_process_in_mid_demo_loses_no_accepted_event(tmp_path: Path) -> None:
    demo = start_demo(tmp_path / "home", seed=2)
    killed: list[str] = []

    def kill_each() -> None:
        # Only once both serve is the demo under way: until then it gives up when one ends.
        for module in ("inference", "monitor"):
            wait_for_child(demo, module)
        for module in ("inference", "monitor"):
            time.sleep(4)
            # Anew: it may have been started again meanwhile.
            if (victim := wait_for_child(demo, module)) is not None:
                victim.kill()
                killed.append(module)

    killer = threading.Thread(target=kill_each)
    killer.start()
    told, remarks = demo.communicate(timeout=420)
    killer.join()
    assert killed == ["inference", "monitor"], remarks[-3000:]
    assert "was killed; it is started again" in remarks
    # The demo itself refuses to go on while an answered image is missing from the record or the
    # detectors have not seen it, so its table is only printed when nothing was lost.
    story = json.loads(told)
    assert story["recorded"] >= story["answered"] > 400
