"""Run a peer in the environment that `make bench-peers` makes, beside ours in the same run.

Peers want other versions of NumPy and pandas than we do, so each is a script of its own in
``benchmarks/peer_scripts/``: it reads arrays from one ``.npz`` file and writes the numbers it found
to a JSON file. Without the environment a peer's rows say "not installed".
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).resolve().parent
PYTHON = HERE.parent / ".venv-peers" / "bin" / "python"
NOT_INSTALLED = "not installed"


class PeerFailed(RuntimeError):
    """A peer's script ended with an error; the message holds the end of what it said."""

    def __init__(self, script: str, said: str) -> None:
        super().__init__(f"the peer {script} failed:\n{said[-2_000:]}")


def installed() -> bool:
    """Tell whether the peers' environment is there."""
    return PYTHON.is_file()


def run_peer(
    script: str,
    arrays: Mapping[str, npt.NDArray[np.generic]],
    options: Mapping[str, object] | None = None,
    *,
    timeout_s: float = 1_800,
) -> dict[str, Any] | None:
    """Run ``peer_scripts/<script>.py ARRAYS.npz OPTIONS.json RESULT.json`` to its end.

    Parameters
    ----------
    script
        Name of the script, without its ending.
    arrays
        What it reads.
    options
        Plain numbers and texts for it.
    timeout_s
        Seconds after which it is given up.

    Returns
    -------
    What it wrote; None when the peers are not installed.

    Raises
    ------
    PeerFailed
        If it ended with an error, or took too long.
    """
    if not installed():
        return None
    with tempfile.TemporaryDirectory() as folder:
        given, told, found = (Path(folder) / name for name in ("in.npz", "in.json", "out.json"))
        np.savez(given, allow_pickle=False, **arrays)
        told.write_text(json.dumps(dict(options or {})))
        place = HERE / "peer_scripts" / f"{script}.py"
        command = [str(PYTHON), str(place), str(given), str(told), str(found)]
        environment = {**os.environ, "DO_NOT_TRACK": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        environment.pop("PYTHONPATH", None)
        try:
            ended = subprocess.run(
                command,
                env=environment,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as slow:
            raise PeerFailed(script, f"it took more than {timeout_s:g} s") from slow
        if ended.returncode:
            raise PeerFailed(script, ended.stderr)
        result: dict[str, Any] = json.loads(found.read_text())
        return result
