"""`fieldwatch gateway`: become the gateway process."""

import os
import sys
from pathlib import Path
from typing import NoReturn


def run(*, as_json: bool, config: Path | None) -> NoReturn:
    """Replace this process by the gateway; the monitor never imports it."""
    del as_json  # it runs until it is stopped; its log is its output
    options = [] if config is None else ["--config", str(config)]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "inference", *options])
