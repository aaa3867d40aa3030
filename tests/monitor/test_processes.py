"""Children that are started together, end together."""

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from monitor.errors import PortTaken, ProcessEnded
from monitor.services.processes import Family, Program

pytestmark = pytest.mark.servers

SERVE = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def program(folder: Path, name: str, code: str = SERVE) -> Program:
    port = free_port()
    return Program(
        name=name,
        arguments=("-c", code, str(port)),
        health=f"http://127.0.0.1:{port}/healthz",
        log=folder / "logs" / f"{name}.log",
    )


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def soon(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_both_are_stopped_when_the_context_is_left(tmp_path: Path) -> None:
    with Family([program(tmp_path, "gateway"), program(tmp_path, "monitor")]) as family:
        family.wait_until_healthy()
        pids = list(family.pids.values())
        looks = iter([False, True])
        family.watch(lambda: next(looks))
        assert all(alive(pid) for pid in pids)
    assert not any(alive(pid) for pid in pids)


def test_when_one_ends_it_is_named_and_the_other_is_stopped(tmp_path: Path) -> None:
    with Family([program(tmp_path, "gateway"), program(tmp_path, "monitor")]) as family:
        family.wait_until_healthy()
        pids = family.pids
        os.kill(pids["monitor"], signal.SIGKILL)
        with pytest.raises(ProcessEnded, match=r"the monitor stopped by itself \(exit status -9\)"):
            family.watch(lambda: False)
    assert soon(lambda: not alive(pids["gateway"]))


def test_a_port_that_is_taken_is_named_before_anything_starts(tmp_path: Path) -> None:
    wanted = program(tmp_path, "gateway")
    with Family([wanted]) as family:
        family.wait_until_healthy()
        with pytest.raises(PortTaken, match=r"FIELDWATCH_GATEWAY__PORT"), Family([wanted]):
            pass


def test_a_stranger_does_not_answer_for_a_child_that_lost_its_port(tmp_path: Path) -> None:
    wanted = program(tmp_path, "gateway", "import time; time.sleep(0.5)" + SERVE)
    stranger = Program(
        name="stranger",
        arguments=("-c", SERVE, wanted.arguments[-1]),
        health=wanted.health,
        log=tmp_path / "stranger.log",
    )
    with Family([wanted]) as family, Family([stranger]) as strangers:
        strangers.wait_until_healthy()
        with pytest.raises(ProcessEnded, match="Address already in use"):
            family.wait_until_healthy()


def test_one_that_cannot_start_is_named_with_its_log(tmp_path: Path) -> None:
    failing = program(tmp_path, "gateway", "import sys; sys.exit('the port is taken')")
    with pytest.raises(ProcessEnded) as failure, Family([failing]) as family:
        family.wait_until_healthy()
    assert str(failing.log) in str(failure.value)
    assert "| the port is taken" in str(failure.value)
    assert "the port is taken" in failing.log.read_text()
