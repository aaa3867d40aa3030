"""Run the child process that opens the pickle, and take its files."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import IO

import msgspec

import reference_data
from reference_data.errors import ImportRefused
from reference_data.importing.job import JOB, OUTCOME, Job, Outcome, Refusal, Tick
from reference_data.importing.request import Progress

_MOST_SECONDS = 3600.0
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "TZ")
_LOG = "child.log"


def run_child(job: Job, folder: Path, progress: Progress) -> Outcome:
    """Open the Learner in a process of its own.

    Parameters
    ----------
    folder
        An empty folder for the job, its outcome and the child's home; nothing in it is executed.

    Raises
    ------
    ImportRefused
        With the child's reason, or because it died or took more than an hour.
    """
    (folder / JOB).write_bytes(msgspec.json.encode(job))
    home = folder / "home"
    home.mkdir()
    reading, writing = os.pipe()
    with ExitStack() as stack:
        pipe = stack.enter_context(os.fdopen(reading, encoding="utf-8", errors="replace"))
        log = stack.enter_context((folder / _LOG).open("wb"))
        try:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-s", "-m", "reference_data.importing.child"),
                    *(str(folder / JOB), str(writing)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=home,
                env=_environment(home),
                pass_fds=(writing,),
                start_new_session=True,
            )
        finally:
            os.close(writing)
        stack.callback(_end, process)
        timer = threading.Timer(_MOST_SECONDS, _end, [process])
        stack.callback(timer.cancel)
        timer.start()
        _follow(pipe, progress)
        code = process.wait()
    return _read_outcome(folder, code, job.learner_name)


def _environment(home: Path) -> dict[str, str]:
    """Pass on what the interpreter needs, and none of the owner's secrets."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    package = Path(reference_data.__file__).resolve().parent
    return kept | {
        "HOME": str(home),
        "TMPDIR": str(home),
        "XDG_CACHE_HOME": str(home),
        "MPLCONFIGDIR": str(home),
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(package.parent),
    }


def _follow(pipe: IO[str], progress: Progress) -> None:
    """Turn the child's lines into steps until it closes the pipe."""
    current: str | None = None
    done = 0
    with ExitStack() as stack:
        advance: Callable[[int], None] = _ignore
        for tick in _ticks(pipe):
            if tick.step != current:
                stack.close()
                current, done = tick.step, 0
                step: AbstractContextManager[Callable[[int], None]] = progress.step(
                    tick.step, tick.total
                )
                advance = stack.enter_context(step)
            if tick.done > done:
                advance(tick.done - done)
                done = tick.done


def _ticks(pipe: IO[str]) -> Iterator[Tick]:
    for line in pipe:
        # Code in the pickle can write here too; what is no tick is no business of ours.
        with contextlib.suppress(msgspec.DecodeError, UnicodeError):
            yield msgspec.json.decode(line, type=Tick)


def _ignore(_count: int) -> None:
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the child and whatever it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read_outcome(folder: Path, code: int, name: str) -> Outcome:
    try:
        outcome: Outcome | Refusal = msgspec.json.decode(
            (folder / OUTCOME).read_bytes(), type=Outcome | Refusal
        )
    except (FileNotFoundError, msgspec.DecodeError) as error:
        raise ImportRefused(_describe_death(folder, code, name)) from error
    if isinstance(outcome, Refusal):
        raise ImportRefused(outcome.refused)
    return outcome


def _describe_death(folder: Path, code: int, name: str) -> str:
    lines = (folder / _LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    said = f" Its last words: {lines[-1][:400]}" if lines else ""
    if code == -signal.SIGKILL:
        return (
            f"the process that opened {name} was killed, most likely for want of memory, or "
            f"because it took more than an hour.{said} Import on a machine with more memory."
        )
    how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
    return (
        f"the process that opened {name} ended {how} before it had an outcome.{said} "
        "Open the Learner in a notebook with load_learner to see what is wrong with it."
    )
