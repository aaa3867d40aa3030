"""The process that opens a pickle has no network, few resources and none of the owner's secrets."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from reference_data.errors import ImportRefused
from reference_data.importing.job import Job
from reference_data.importing.process import run_child
from reference_data.importing.request import Progress

pytestmark = pytest.mark.skipif(
    platform.system() != "Linux", reason="only Linux offers these means of confinement"
)

ATTEMPT = """
import resource, socket
from reference_data.importing.confinement import confine
means = confine()
assert means, "no means of confinement here"
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
    try:
        socket.socket(family).connect(("127.0.0.1", 9) if family != socket.AF_UNIX else "/nowhere")
    except ConnectionRefusedError:
        raise SystemExit("a network answered")
    except OSError:
        pass
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
assert soft == hard == 3600
import threading
thread = threading.Thread(target=print, args=("still works",))
thread.start()
thread.join()
"""


def test_a_confined_process_reaches_no_network() -> None:
    result = subprocess.run(
        [sys.executable, "-c", ATTEMPT], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "still works\n"


class Silent:
    """Progress that nobody watches."""

    def step(self, name: str, total: int | None) -> "Silent":
        return self

    def __enter__(self) -> "Silent":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, count: int) -> None:
        return None


def open_in_child(folder: Path, code: str) -> str:
    """Run owner's code where the Learner would be opened, and return why it was refused."""
    learner, owners = folder / "learner.pkl", folder / "owners.py"
    learner.write_bytes(b"no pickle at all")
    owners.write_text(code)
    job = Job(
        learner=str(learner),
        learner_name="bears.pkl",
        code=str(owners),
        items=(),
        mid_layer=None,
        confine=True,
    )
    progress: Progress = Silent()
    with pytest.raises(ImportRefused) as refused:
        run_child(job, folder, progress)
    return str(refused.value)


@pytest.mark.torch
def test_code_in_the_child_sees_neither_secrets_nor_home_nor_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIELDWATCH_KEY", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    code = (
        "import os, pathlib, socket\n"
        "found = [name for name, value in os.environ.items() if value == 'secret']\n"
        "try:\n    socket.create_connection(('127.0.0.1', 9), 1)\n"
        "except ConnectionRefusedError:\n    found.append('network')\n"
        "except OSError:\n    pass\n"
        f"if pathlib.Path.home().parent != pathlib.Path({str(tmp_path)!r}): found.append('home')\n"
        "raise ValueError(f'found {found}')\n"
    )
    message = open_in_child(tmp_path, code)
    assert "found []" in message
    assert "--code" in message


@pytest.mark.torch
def test_a_child_that_dies_is_reported_with_its_last_words(tmp_path: Path) -> None:
    message = open_in_child(
        tmp_path, "import os, sys\nprint('bye', file=sys.stderr, flush=True)\nos._exit(7)\n"
    )
    assert "bears.pkl ended with status 7" in message
    assert "bye" in message
