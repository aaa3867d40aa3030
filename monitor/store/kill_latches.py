"""The kill latches armed now."""

from datetime import datetime

from sqlalchemy import Connection, delete, select

from monitor.errors import DocumentTooNew
from monitor.rollouts.kill import KillLatch, KillScope
from monitor.store.columns import insert
from monitor.store.schema import kill_latches


class KillLatches:
    """The armed latches. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def arm(self, scope: KillScope, key: str, by: str, reason: str, now: datetime) -> bool:
        """Arm a latch; one that is armed already keeps its author.

        Returns
        -------
            Whether it was not armed before.
        """
        armed = self._conn.execute(
            insert(self._conn, kill_latches)
            .values(scope=scope.value, key=key, armed_by=by, reason=reason, armed_at=now)
            .on_conflict_do_nothing(index_elements=["scope", "key"])
        )
        return armed.rowcount == 1

    def release(self, scope: KillScope, key: str) -> bool:
        """Release a latch.

        Returns
        -------
            Whether it was armed.
        """
        released = self._conn.execute(
            delete(kill_latches).where(
                kill_latches.c.scope == scope.value, kill_latches.c.key == key
            )
        )
        return released.rowcount == 1

    def armed(self) -> list[KillLatch]:
        """Read the armed latches, oldest first.

        Raises
        ------
        DocumentTooNew
            One has a scope this program does not know. Leaving it out could let a model act that
            somebody stopped, so the reader fails and its plan ages until humans act.
        """
        rows = self._conn.execute(
            select(kill_latches).order_by(kill_latches.c.armed_at, kill_latches.c.key)
        )
        latches = []
        for row in rows:
            if row.scope not in list(KillScope):
                raise DocumentTooNew(
                    f"the kill latch {row.key}", f"scope {row.scope}", ", ".join(KillScope)
                )
            latches.append(
                KillLatch(
                    scope=KillScope(row.scope),
                    key=row.key,
                    armed_by=row.armed_by,
                    reason=row.reason,
                    armed_at=row.armed_at,
                )
            )
        return latches
