"""Draws the dashboards with Grafana's own packages, where they are built and Chromium is there."""

import os
import shutil
import subprocess
from datetime import datetime
from pathlib import Path

DRAW = Path(__file__).parents[2] / "dashboards" / "draw"
BOARD_S = 240
"""A busy machine may take its time for a board."""


def missing() -> str | None:
    """Say what is not there that drawing needs; ``None`` where all is."""
    lacking = [name for name in ("node", "chromium") if shutil.which(name) is None]
    if not (DRAW / "dist" / "index.html").exists():
        lacking.append("the page: run `npm ci && npm run build` in dashboards/draw")
    return f"not installed: {', '.join(lacking)}" if lacking else None


def draw(prometheus: str, since: datetime, until: datetime, scrape_s: int, folder: Path) -> None:
    """Draw every board of a stretch of time into a folder.

    Raises
    ------
    AssertionError
        A page was faulty, or a panel empty that must not be.
    """
    moments = {"FROM": str(since.timestamp()), "TO": str(until.timestamp())}
    chromium = {"CHROMIUM": shutil.which("chromium") or ""}
    done = subprocess.run(
        ["node", str(DRAW / "draw.mjs"), "--to", str(folder)],
        env=os.environ | moments | chromium | {"PROMETHEUS": prometheus, "SCRAPE": str(scrape_s)},
        capture_output=True,
        text=True,
        timeout=5 * BOARD_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
