"""Run the gateway and the monitor as children, and end both when either ends."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from monitor.errors import PortTaken, ProcessEnded

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
LAST_WORDS = 4
"""Lines of a log that are shown when its process has ended."""
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One process to keep running."""

    name: str
    arguments: Sequence[str]
    """After the Python interpreter."""
    health: str
    """URL that answers 200 once it serves."""
    log: Path


def programs(
    config: Path | None, logs: Path, gateway_url: str, monitor_url: str
) -> tuple[Program, Program]:
    """Describe the two processes of an installation.

    Parameters
    ----------
    config
        Settings file both read; variables are inherited.
    logs
        Folder of their logs.
    gateway_url, monitor_url
        Where each will answer.
    """
    options = [] if config is None else ["--config", str(config)]
    return (
        Program(
            name="gateway",
            arguments=("-m", "inference", *options),
            health=f"{gateway_url}/healthz",
            log=logs / "gateway.log",
        ),
        Program(
            name="monitor",
            arguments=("-m", "monitor.cli", "monitor", *options),
            health=f"{monitor_url}/healthz",
            log=logs / "monitor.log",
        ),
    )


class Family:
    """Running children. Use as a context: leaving it stops every one of them."""

    def __init__(self, wanted: Sequence[Program], environment: Mapping[str, str] | None = None):
        self._wanted = wanted
        self._environment = dict(os.environ if environment is None else environment)
        self._running: list[tuple[Program, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> "Family":
        for program in self._wanted:
            if _taken(program):
                raise PortTaken(program.name, program.health.removesuffix("/healthz"))
        try:
            for program in self._wanted:
                self._running.append((program, _spawn(program, self._environment)))
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name."""
        return {program.name: child.pid for program, child in self._running}

    def wait_until_healthy(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until every child answers.

        Raises
        ------
        ProcessEnded
            If one ends instead.
        TimeoutError
            If one does not answer in time.
        """
        deadline = time.monotonic() + timeout_s
        for program, child in self._running:
            # A stranger on the port would answer for a child that has not come to ask for it yet.
            while not (_listens(child, program) and _answers(program.health)):
                self.check()
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        f"the {program.name} did not answer at {program.health} within "
                        f"{timeout_s:.0f} s; {program.log} may say why"
                    )
                time.sleep(0.05)
        self.check()

    def check(self) -> None:
        """Raise `ProcessEnded` if a child has ended."""
        for program, child in self._running:
            status = child.poll()
            if status is not None:
                raise ProcessEnded(program.name, status, program.log, _tail(program.log))

    def revive(self) -> list[str]:
        """Start every child that has ended again; return their names."""
        revived = []
        for place, (program, child) in enumerate(self._running):
            if child.poll() is not None:
                self._running[place] = (program, _spawn(program, self._environment))
                revived.append(program.name)
        return revived

    def watch(self, stopping: Callable[[], bool]) -> None:
        """Wait until told to stop, or raise `ProcessEnded` when a child ends first."""
        while not stopping():
            self.check()
            time.sleep(0.1)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Ask every child to end, and make it after a while."""
        for _, child in self._running:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + timeout_s
        for _, child in self._running:
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _spawn(program: Program, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    program.log.parent.mkdir(parents=True, exist_ok=True)
    with program.log.open("ab") as log:
        # A session of its own: Ctrl-C reaches us alone, and we stop the children in order.
        return subprocess.Popen(
            [sys.executable, *program.arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=dict(environment),
            preexec_fn=_die_with_parent() if sys.platform == "linux" else None,
        )


def _die_with_parent() -> Callable[[], object]:
    # Without this a parent that is killed outright leaves its children holding the ports.
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _taken(program: Program) -> bool:
    where = urlsplit(program.health)
    try:
        with socket.create_connection((where.hostname or "", where.port or 80), timeout=1):
            return True
    except OSError:
        return False


def _listens(child: subprocess.Popen[bytes], program: Program) -> bool:
    try:
        sockets = psutil.Process(child.pid).net_connections("tcp")
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # Some systems do not let even the parent look.
        return True
    port = urlsplit(program.health).port
    return any(s.status == psutil.CONN_LISTEN and s.laddr.port == port for s in sockets)


def _tail(log: Path) -> list[str]:
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return []
    return [line for line in lines if line.strip()][-LAST_WORDS:]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False
