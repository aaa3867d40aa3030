"""Run the process that makes a report, within its limits, and take what it leaves.

Whatever it does (hang, crash, eat memory) ends here, in a value: nothing of it reaches the monitor.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import msgspec

import monitor
from monitor.reports.job import OUTCOME, Made, Outcome, Unmade

CHILD = (sys.executable, "-P", "-s", "-m", "monitor.reports.child")
LIBRARY = "evidently"
_LOG = "child.log"
_LOOK_EVERY_S = 0.1
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ")


class Failure(StrEnum):
    """How a report fails to be made."""

    TIMEOUT = "timeout"
    MEMORY = "memory"
    FAILED = "failed"
    STOPPED = "stopped"
    """The monitor is asked to stop; nothing is wrong with the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Why there is no report."""

    failure: Failure
    message: str


Runner = Callable[[Path], Made | Failed]
"""Makes the report of the job in a folder."""


def installed() -> bool:
    """Tell whether the library is there: the extra `reports`."""
    return find_spec(LIBRARY) is not None


def run(
    folder: Path,
    *,
    seconds: float,
    stop: threading.Event | None = None,
    command: tuple[str, ...] = CHILD,
) -> Made | Failed:
    """Make the report of the job in `folder` in a process of its own, and wait for it.

    Parameters
    ----------
    folder
        Holds the job and its tables; the page, the snapshot and the outcome are left there.
    seconds
        After which the process and all it started are killed.
    stop
        When set, they are killed at once.
    command
        What is run, with the folder as its last argument.
    """
    home = folder / "home"
    home.mkdir()
    with (folder / _LOG).open("wb") as log:
        process = subprocess.Popen(
            [*command, str(folder)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=home,
            env=_environment(home),
            start_new_session=True,
        )
        try:
            ended = _wait(process, time.monotonic() + seconds, stop)
        finally:
            _end(process)
    if ended is not None:
        return ended if ended.failure is Failure.STOPPED else _timed_out(seconds)
    return _read_outcome(folder, process.returncode)


def _wait(
    process: subprocess.Popen[bytes], deadline: float, stop: threading.Event | None
) -> Failed | None:
    """Wait for the end; None when the process ended by itself."""
    while True:
        try:
            process.wait(_LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            if stop is not None and stop.is_set():
                return Failed(failure=Failure.STOPPED, message="the monitor is stopping")
            if time.monotonic() > deadline:
                return Failed(failure=Failure.TIMEOUT, message="")
        else:
            return None


def _timed_out(seconds: float) -> Failed:
    message = (
        f"it was killed after {seconds:g} s (monitor.reports.time_limit_s); fewer sample_rows take "
        "less"
    )
    return Failed(failure=Failure.TIMEOUT, message=message)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and whatever it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _environment(home: Path) -> dict[str, str]:
    """Pass on what the interpreter needs, none of the owner's secrets, and no telemetry."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    package = Path(monitor.__file__).resolve().parent
    return kept | {
        "HOME": str(home),
        "TMPDIR": str(home),
        "XDG_CACHE_HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "MPLCONFIGDIR": str(home),
        "PYTHONPATH": str(package.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        # Any value switches Evidently's telemetry off; the process has no network besides.
        "DO_NOT_TRACK": "1",
        # It shares the machine with those who answer.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }


def _read_outcome(folder: Path, code: int) -> Made | Failed:
    try:
        outcome: Outcome = msgspec.json.decode((folder / OUTCOME).read_bytes(), type=Outcome)
    except (FileNotFoundError, msgspec.DecodeError):
        return _describe_death(folder, code)
    if isinstance(outcome, Unmade):
        return Failed(failure=_failure(outcome.cause), message=outcome.message)
    return outcome


def _failure(cause: Literal["memory", "failed"]) -> Failure:
    return Failure.MEMORY if cause == "memory" else Failure.FAILED


def _describe_death(folder: Path, code: int) -> Failed:
    lines = (folder / _LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    said = f"; its last words: {lines[-1][:300]}" if lines else ""
    if code == -signal.SIGKILL:
        message = f"its process was killed, most likely for want of memory{said}"
        return Failed(failure=Failure.MEMORY, message=message)
    how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
    return Failed(failure=Failure.FAILED, message=f"its process ended {how}{said}")
