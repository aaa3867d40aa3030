"""What a report promises, and what the real Evidently makes of it."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from scipy.stats import binom

from monitor.reports import process
from monitor.reports.job import (
    JOB,
    PAGE,
    REFERENCE,
    WINDOW,
    WORKSPACE,
    Column,
    Job,
    Made,
    Subject,
    Verdict,
    overall,
)
from monitor.reports.shelf import project_of
from monitor.reports.thresholds import compare
from reference_data.conformal import p_values
from reference_data.window_reference import own_p_values

COLUMNS = (
    Column(name="p", kind="number"),
    Column(name="bytes", kind="number"),
    Column(name="quality", kind="number"),
    Column(name="prediction", kind="category"),
)
UNTIL = datetime(2026, 5, 4, 12, tzinfo=UTC)
needs_evidently = pytest.mark.skipif(
    not process.installed(), reason="Evidently is not installed: the extra `reports`"
)


def table(rng: np.random.Generator, p: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> pa.Table:
    """Draw rows around these p-values: heavy tails, ties and a rare class."""
    n = len(p)
    classes = rng.choice(["black", "grizzly", "teddy"], n, p=[0.6, 0.35, 0.05])
    return pa.table(
        {
            "p": p,
            "bytes": np.exp(rng.normal(11, 1, n)),
            "quality": np.round(rng.normal(size=n)),
            "prediction": classes.tolist(),
        }
    )


def healthy(rng: np.random.Generator, n: int, window: int) -> tuple[pa.Table, pa.Table]:
    """Draw a reference and a window alike, with p-values as bundles and gateways have them."""
    calibrating, new = rng.normal(size=n), rng.normal(size=window)
    theirs = p_values(new, np.sort(calibrating), rng.uniform(size=window))
    return table(rng, own_p_values(calibrating)), table(rng, theirs)


@pytest.mark.statistics
@pytest.mark.parametrize(
    ("n", "window", "trials"), [(100, 50, 400), (300, 300, 200), (2000, 50, 150), (500, 5000, 60)]
)
def test_a_report_of_healthy_traffic_names_a_column_as_rarely_as_promised(
    n: int, window: int, trials: int
) -> None:
    rng = np.random.default_rng([n, window])
    level, drifted = 0.2, 0
    for _ in range(trials):
        found = compare(
            COLUMNS,
            *healthy(rng, n, window),
            fewest_reference=100,
            fewest_window=30,
            level=level,
            draws=79,
            rng=rng,
        )
        drifted += overall(found) is Verdict.DRIFT
    assert drifted <= binom.ppf(0.9999, trials, level)


@needs_evidently
@pytest.mark.statistics
@pytest.mark.servers
def test_evidentlys_own_thresholds_name_one_in_almost_every_small_window() -> None:
    """Were this to fail, Evidently would have mended its defaults, and ours might go."""
    script = str(Path(__file__).with_name("evidently_defaults.py"))
    asked = [sys.executable, "-W", "ignore", script, "2000", "50,200", "40"]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts["50"] >= 36
    assert counts["200"] > binom.ppf(0.9999, 40, 0.2)


@needs_evidently
@pytest.mark.servers
def test_evidently_judges_by_our_thresholds_and_the_page_needs_nothing_from_anywhere(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(5)
    reference, window = healthy(rng, 200, 60)
    dark = window.set_column(1, "bytes", pa.array(np.exp(rng.normal(9, 1, 60))))
    sealed = dark.set_column(3, "prediction", pa.nulls(60, pa.string()))
    parquet.write_table(reference, tmp_path / REFERENCE)
    parquet.write_table(sealed, tmp_path / WINDOW)
    job = Job(
        subject=Subject(
            model="bears",
            version="7",
            bundle_sha="0" * 64,
            since=UNTIL - timedelta(hours=24),
            until=UNTIL,
            answered=60,
            sampled=60,
            notes=("60 predictions are sealed",),
        ),
        made_at=UNTIL,
        columns=COLUMNS,
        fewest_reference=100,
        fewest_window=30,
        level=0.05,
        draws=199,
        seed=1,
        memory_bytes=2 << 30,
        project=project_of("bears"),
    )
    (tmp_path / JOB).write_bytes(msgspec.json.encode(job))

    found = process.run(tmp_path, seconds=240)

    assert isinstance(found, Made), found
    verdicts = {each.name: each.verdict for each in found.columns}
    assert verdicts == {
        "p": Verdict.NO_DRIFT,
        "bytes": Verdict.DRIFT,
        "quality": Verdict.NO_DRIFT,
        "prediction": Verdict.INCONCLUSIVE,
    }
    page = (tmp_path / PAGE).read_text()
    assert "Drift in bytes; 1 of 4 columns are inconclusive" in page
    assert "60 predictions are sealed" in page
    for outside in (r"<script[^>]*\ssrc=", r"<link\b", r"@import\b", r"url\(\s*['\"]?(?!data:)\w"):
        assert not re.search(outside, page.partition("<body>")[0]), outside
        assert not re.search(outside, page.rpartition("</script>")[2]), outside
    assert not re.search(r"<(script|link|img|iframe)\b[^>]*\s(src|href)=['\"]?(https?:)?//", page)
    project = tmp_path / WORKSPACE / project_of("bears")
    assert json.loads((project / "metadata.json").read_text())["name"] == "bears"
    snapshot = json.loads((project / "snapshots" / f"{found.snapshot}.json").read_text())
    assert snapshot["tags"] == ["drift", "version 7"]
    asked = [
        each["metric_value_location"]["metric"]["params"]
        for each in snapshot["metric_results"].values()
    ]
    told = {each["column"]: each["threshold"] for each in asked if "column" in each}
    assert told == {each.name: each.threshold for each in found.columns if each.threshold}
