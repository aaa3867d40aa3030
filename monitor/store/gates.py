"""What gates have counted, what they said last, and what they ever said."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, func, select, update

from monitor.errors import GateConflict
from monitor.store.columns import insert
from monitor.store.schema import gate_states, gate_verdicts

TALLY = ""
"""Name under which is kept what all gates of an epoch count together; no gate's id is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredState:
    """A document as it was loaded."""

    state: str
    """JSON that carries its format."""
    version: int
    """Give it back as `expected_version` when saving."""
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVerdict:
    """One row of what gates ever said."""

    gate: str
    epoch: int
    outcome: str
    document: str
    measured_at: datetime


class GateStates:
    """What gates have counted, by epoch. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def load(self, rollout_id: str, epochs: Iterable[int]) -> dict[tuple[str, int], StoredState]:
        """Read what is kept of these epochs, by gate and epoch."""
        rows = self._conn.execute(
            select(gate_states).where(
                gate_states.c.rollout_id == rollout_id, gate_states.c.epoch.in_(list(epochs))
            )
        )
        return {
            (row.gate, row.epoch): StoredState(
                state=row.state, version=row.version, updated_at=row.updated_at
            )
            for row in rows
        }

    def save(
        self,
        rollout_id: str,
        gate: str,
        epoch: int,
        state: str,
        *,
        expected_version: int,
        now: datetime,
    ) -> None:
        """Save a state in place of the one it was computed from.

        Parameters
        ----------
        rollout_id, gate, epoch
            Whose state; `TALLY` for what all gates count together.
        state
            JSON.
        expected_version
            The version loaded; 0 where there was none.
        now
            Recorded as the time of the change.

        Raises
        ------
        GateConflict
            Another monitor saved in between.
        """
        values = {"state": state, "version": expected_version + 1, "updated_at": now}
        if expected_version == 0:
            done = self._conn.execute(
                insert(self._conn, gate_states)
                .values(rollout_id=rollout_id, gate=gate, epoch=epoch, **values)
                .on_conflict_do_nothing(index_elements=list(gate_states.primary_key))
            )
        else:
            done = self._conn.execute(
                update(gate_states)
                .where(
                    gate_states.c.rollout_id == rollout_id,
                    gate_states.c.gate == gate,
                    gate_states.c.epoch == epoch,
                    gate_states.c.version == expected_version,
                )
                .values(**values)
            )
        if done.rowcount != 1:
            raise GateConflict(rollout_id, epoch, expected_version)

    def put(self, rollout_id: str, gate: str, epoch: int, state: str, now: datetime) -> None:
        """Keep what a gate said last in place of what it said before, whoever wrote that."""
        values = {"state": state, "updated_at": now}
        self._conn.execute(
            insert(self._conn, gate_states)
            .values(rollout_id=rollout_id, gate=gate, epoch=epoch, version=1, **values)
            .on_conflict_do_update(index_elements=list(gate_states.primary_key), set_=values)
        )


class GateVerdicts:
    """What gates ever said. Never commits; rows are only added."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def add(self, rollout_id: str, verdict: StoredVerdict) -> None:
        """Add a row."""
        self._conn.execute(
            insert(self._conn, gate_verdicts).values(
                rollout_id=rollout_id,
                gate=verdict.gate,
                epoch=verdict.epoch,
                outcome=verdict.outcome,
                document=verdict.document,
                measured_at=verdict.measured_at,
            )
        )

    def newest(self, rollout_id: str) -> dict[str, StoredVerdict]:
        """Read the last row of each gate."""
        last = (
            select(func.max(gate_verdicts.c.id))
            .where(gate_verdicts.c.rollout_id == rollout_id)
            .group_by(gate_verdicts.c.gate)
        )
        rows = self._conn.execute(select(gate_verdicts).where(gate_verdicts.c.id.in_(last)))
        return {row.gate: _verdict(row) for row in rows}

    def history(self, rollout_id: str, gate: str | None = None) -> list[StoredVerdict]:
        """Read every row of a rollout, or of one gate of it, in order."""
        wanted = [] if gate is None else [gate_verdicts.c.gate == gate]
        rows = self._conn.execute(
            select(gate_verdicts)
            .where(gate_verdicts.c.rollout_id == rollout_id, *wanted)
            .order_by(gate_verdicts.c.id)
        )
        return [_verdict(row) for row in rows]


def _verdict(row: Row[tuple[object, ...]]) -> StoredVerdict:
    return StoredVerdict(
        gate=row.gate,
        epoch=row.epoch,
        outcome=row.outcome,
        document=row.document,
        measured_at=row.measured_at,
    )
