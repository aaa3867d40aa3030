"""The process that makes one report: the only module that knows Evidently.

It reads two tables, works out the thresholds, lets Evidently compare with exactly these, and leaves
a page, a snapshot and an outcome beside the tables. It has no network, little memory, no key and no
connection to any store, and it ends when the monitor does.

The distances are Evidently's, and the thresholds come from our own computation of the same
distances. Were the two ever to differ, as after an upgrade that redefines one, the thresholds would
mean nothing: then there is no report, and the refusal says which distance it was.
"""

import contextlib
import math
import os
import resource
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from pyarrow import parquet

from monitor.reports.banner import banner
from monitor.reports.job import (
    JOB,
    OUTCOME,
    PAGE,
    REFERENCE,
    WINDOW,
    WORKSPACE,
    ColumnVerdict,
    Job,
    Made,
    Outcome,
    Unmade,
    Verdict,
    overall,
)
from monitor.reports.thresholds import compare
from reference_data.importing.confinement import confine

AGREEMENT = 1e-6
"""Relative difference of two computations of one distance that is rounding."""
NICENESS = 10


def main(folder: Path) -> int:
    """Make the report of the job in `folder`; return the exit status."""
    job = msgspec.json.decode((folder / JOB).read_bytes(), type=Job)
    threading.Thread(target=_end_with_the_monitor, daemon=True).start()
    _limit(job.memory_bytes)
    outcome: Outcome
    try:
        outcome = make(job, folder)
    except MemoryError:
        text = f"more than {job.memory_bytes / 2**20:,.0f} MiB of memory were needed"
        outcome = Unmade(cause="memory", message=text)
    except Exception as fault:  # noqa: BLE001 - told to the monitor, which records it
        traceback.print_exc()
        outcome = Unmade(cause="failed", message=f"{type(fault).__name__}: {fault}")
    (folder / OUTCOME).write_bytes(msgspec.json.encode(outcome))
    return 0


def make(job: Job, folder: Path) -> Made:
    """Compare, and write the page and the snapshot.

    Raises
    ------
    ValueError
        If Evidently's distances are not the ones the thresholds were worked out for.
    """
    reference, window = (parquet.read_table(folder / name) for name in (REFERENCE, WINDOW))
    columns = compare(
        job.columns,
        reference,
        window,
        fewest_reference=job.fewest_reference,
        fewest_window=job.fewest_window,
        level=job.level,
        draws=job.draws,
        rng=np.random.default_rng(job.seed),
    )
    columns += job.unknown
    # Loading it takes seconds and 300 MB; what was refused before never does.
    import evidently

    snapshot = _run(job, columns, reference.to_pandas(), window.to_pandas())
    _check(columns, snapshot.dict())
    page = str(snapshot.get_html_str(as_iframe=False))
    page = page.replace("<body>", f"<body>{banner(job, columns)}", 1)
    (folder / PAGE).write_text(page, encoding="utf-8")
    return Made(
        columns=columns,
        snapshot=_shelve(job, snapshot, folder / WORKSPACE),
        evidently=str(evidently.__version__),
    )


def _run(job: Job, columns: tuple[ColumnVerdict, ...], reference: Any, window: Any) -> Any:
    """Let Evidently compare what can be compared, each column with its own threshold."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import DriftedColumnsCount, RowCount, ValueDrift

    kinds = {column.name: column.kind for column in job.columns}
    compared = sorted(
        (each for each in columns if each.threshold is not None),
        key=lambda each: each.verdict is not Verdict.DRIFT,
    )
    names = [each.name for each in compared]
    definition = DataDefinition(
        numerical_columns=[name for name in names if kinds[name] == "number"],
        categorical_columns=[name for name in names if kinds[name] == "category"],
    )
    drift = [
        ValueDrift(column=each.name, method=each.method, threshold=each.threshold)
        for each in compared
    ]
    counted = DriftedColumnsCount(
        columns=names,
        # One column is enough: the thresholds allow for there being many.
        drift_share=0.5 / max(1, len(names)),
        per_column_method={each.name: each.method for each in compared},
        per_column_threshold={each.name: each.threshold for each in compared},
    )
    metrics = [RowCount(), counted, *drift] if compared else [RowCount()]
    subject = job.subject
    return Report(metrics, include_tests=bool(compared)).run(
        # Every table needs a column; without any to compare, rows are counted all the same.
        Dataset.from_pandas(window[names or list(window)[:1]], data_definition=definition),
        Dataset.from_pandas(reference[names or list(reference)[:1]], data_definition=definition),
        timestamp=subject.until.replace(tzinfo=None),
        name=f"{subject.model} {subject.version}, to {subject.until:%d %b %Y %H:%M} UTC",
        metadata={
            "verdict": str(overall(columns)),
            "version": subject.version,
            "from": subject.since.isoformat(),
            "to": subject.until.isoformat(),
        },
        tags=[str(overall(columns)), f"version {subject.version}"],
    )


def _check(columns: tuple[ColumnVerdict, ...], told: dict[str, Any]) -> None:
    """Make sure that Evidently measured what the thresholds are about, and judged alike."""
    drift = {
        metric["config"]["column"]: float(metric["value"])
        for metric in told["metrics"]
        if metric["config"]["type"].endswith(":ValueDrift")
    }
    failed = {
        test["metric_config"]["params"]["column"]: str(getattr(test["status"], "value", None))
        for test in told["tests"]
        if test["metric_config"]["params"]["type"].endswith(":ValueDrift")
    }
    for each in columns:
        if each.distance is None:
            continue
        theirs = drift[each.name]
        if not math.isclose(theirs, each.distance, rel_tol=AGREEMENT, abs_tol=AGREEMENT):
            raise ValueError(
                f"Evidently's {each.method} distance of {each.name} is {theirs:g}, and the "
                f"threshold was worked out for one of {each.distance:g}: this version of Evidently "
                "measures something else. Install the version that Fieldwatch pins."
            )
        if (failed[each.name] == "FAIL") != (each.verdict is Verdict.DRIFT):
            raise ValueError(f"Evidently does not call {each.name} {each.verdict} as we do")


def _shelve(job: Job, snapshot: Any, folder: Path) -> str:
    """Write the snapshot as a run of the model's project in a workspace of its own."""
    from evidently.sdk.models import PanelMetric, ProjectModel
    from evidently.sdk.panels import bar_plot_panel
    from evidently.ui.workspace import Workspace

    workspace = Workspace.create(str(folder))
    project = workspace.add_project(
        ProjectModel(
            id=job.project,
            name=job.subject.model,
            description="Made by Fieldwatch. Thresholds hold the chance of a false drift at "
            f"{job.level:.0%} a report. Alarms come from its detectors, not from here.",
        )
    )
    # Thresholds differ from report to report, and to Evidently that makes each a series of its own:
    # stacked bars stand where a line would fall apart.
    drifted = PanelMetric(
        legend="columns", metric="DriftedColumnsCount", metric_labels={"value_type": "count"}
    )
    rows = PanelMetric(legend="episodes", metric="RowCount")
    for title, shown in (("Columns called drifted", drifted), ("Episodes compared", rows)):
        project.dashboard.add_panel(bar_plot_panel(title=title, values=[shown], stacked=True))
    return str(workspace.add_run(project.id, snapshot, include_data=False).id)


def _limit(memory_bytes: int) -> None:
    """Take the network, and most memory and attention of the machine, away from this process."""
    confine()
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with contextlib.suppress(OSError):
        os.nice(NICENESS)


def _end_with_the_monitor() -> None:
    """Wait until the pipe from the monitor closes, as it does however the monitor ends."""
    # Not through sys.stdin, whose lock the interpreter wants when it ends.
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
