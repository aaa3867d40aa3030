"""The example trains on what `review export` writes, and its Learner can be imported."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from monitor.services.review.export import COLUMNS
from reference_data.importing.table import read_table

pytestmark = pytest.mark.torch

EXAMPLE = Path(__file__).parents[2] / "examples" / "retrain.py"
GIVEN_UP_S = 900
"""Twenty seconds on a machine with room; a busy one may fail nobody's build."""


def _export(folder: Path) -> Path:
    """Write an export as the command does: paths as seen from its folder."""
    rows = []
    for number in range(24):
        label = ("black", "teddy")[number % 2]
        field = number >= 16
        place = folder / ("out/field" if field else "data") / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (10 + 9 * number, 200 * (number % 2), 90)).save(place)
        path = f"field/{number}.jpg" if field else f"../data/{number}.jpg"
        source, by = ("production", "anna") if field else ("reference", "")
        rows.append((path, label, str(number % 3 == 0), source, by))
    table = folder / "out" / "labels.csv"
    with table.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return folder / "out"


def test_an_exported_table_trains_a_learner_in_one_go(tmp_path: Path) -> None:
    out = _export(tmp_path)
    done = subprocess.run(
        [
            *(sys.executable, str(EXAMPLE), str(out), "--out", "next.pkl", "--from-nothing"),
            *("--size", "32", "--epochs", "1", "--batch", "8"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=GIVEN_UP_S,
    )
    assert done.returncode == 0, done.stderr
    assert "24 pictures, 8 of them as people said" in done.stdout
    assert (tmp_path / "next.pkl").stat().st_size > 1_000_000
    table = read_table(out / "labels.csv")
    assert (len(table.rows), table.split_known) == (24, True)
