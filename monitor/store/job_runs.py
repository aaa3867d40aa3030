"""When each job ran, and how it went."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, Row, delete, func, select, update
from uuid6 import uuid7

from monitor.store.schema import job_runs

LOOKS_AT_GATES = "advance"
"""The job that measures the gates of rollouts: gateways let nothing act long after its last run."""


class RunStatus(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRun:
    """One run of a job by one monitor."""

    id: str
    job: str
    owner: str
    status: RunStatus
    started_at: datetime
    finished_at: datetime | None
    summary: str | None
    """What the service returned, as JSON."""
    error: str | None


class JobRuns:
    """The runs of an installation's jobs. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def start(self, job: str, owner: str, now: datetime) -> str:
        """Record that a run begins; return its id."""
        run_id = str(uuid7())
        self._conn.execute(
            job_runs.insert().values(
                id=run_id, job=job, owner=owner, status=RunStatus.RUNNING.value, started_at=now
            )
        )
        return run_id

    def succeed(self, run_id: str, summary: str, now: datetime) -> None:
        """Record that a run ended well, with its summary as JSON."""
        self._end(run_id, RunStatus.SUCCEEDED, now, summary=summary)

    def fail(self, run_id: str, error: str, now: datetime) -> None:
        """Record that a run failed, and why."""
        self._end(run_id, RunStatus.FAILED, now, error=error)

    def last(self) -> dict[str, JobRun]:
        """Read the newest run of every job."""
        newest = select(
            job_runs,
            func.row_number()
            .over(
                partition_by=job_runs.c.job,
                order_by=[job_runs.c.started_at.desc(), job_runs.c.id.desc()],
            )
            .label("place"),
        ).subquery()
        rows = self._conn.execute(select(newest).where(newest.c.place == 1))
        return {row.job: _run(row) for row in rows}

    def last_success(self, job: str) -> datetime | None:
        """Tell when a run of a job last ended well; ``None`` when none has."""
        ended: datetime | None = self._conn.scalar(
            select(job_runs.c.finished_at)
            .where(job_runs.c.job == job, job_runs.c.status == RunStatus.SUCCEEDED.value)
            .order_by(job_runs.c.started_at.desc())
            .limit(1)
        )
        return ended

    def of(self, job: str, limit: int) -> list[JobRun]:
        """Read the runs of one job, newest first."""
        rows = self._conn.execute(
            select(job_runs)
            .where(job_runs.c.job == job)
            .order_by(job_runs.c.started_at.desc(), job_runs.c.id.desc())
            .limit(limit)
        )
        return [_run(row) for row in rows]

    def forget(self, ended_before: datetime) -> int:
        """Drop the runs that ended before; return how many."""
        return self._conn.execute(
            delete(job_runs).where(job_runs.c.finished_at < ended_before)
        ).rowcount

    def _end(
        self,
        run_id: str,
        status: RunStatus,
        now: datetime,
        *,
        summary: str | None = None,
        error: str | None = None,
    ) -> None:
        self._conn.execute(
            update(job_runs)
            .where(job_runs.c.id == run_id)
            .values(status=status.value, finished_at=now, summary=summary, error=error)
        )


def _run(row: "Row[tuple[object, ...]]") -> JobRun:
    return JobRun(
        id=row.id,
        job=row.job,
        owner=row.owner,
        status=RunStatus(row.status),
        started_at=row.started_at,
        finished_at=row.finished_at,
        summary=row.summary,
        error=row.error,
    )
