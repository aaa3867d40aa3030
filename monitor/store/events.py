"""The events table: every prediction, appended in batches, exactly once.

A Delta table partitioned by model and day. A batch carries an application transaction (the writer
and the last `seq` in it), committed with the rows in one step, so the table itself remembers how
far each writer is durable, and a batch that is sent again, whole or grouped differently, adds only
what is missing.

A process that forks must open its `EventLog` after the fork: its threads do not survive it.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, QueryBuilder, Transaction, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from monitor.errors import BatchInvalid, EventsUnreachable
from monitor.store import predicates
from monitor.store.event import ARROW_SCHEMA
from monitor.store.local_sync import local_folder, sync_commits

MAX_COMMIT_RETRIES = 200
"""With the library's 15, fifty of 400 commits by 16 writers failed; with this, none."""

PARTITIONS = ["model", "date"]

_KEYS = ["writer", "seq", "at"]

_CONFIGURATION: dict[str, str | None] = {
    # By these, files are skipped; statistics of the other columns would only swell the log.
    "delta.dataSkippingStatsColumns": (
        "event_id,writer,seq,at,version,case_id,unit,episode_id,status,flagged,epoch,actor"
    ),
    "delta.checkpointInterval": "50",
}


class EventLog:
    """The events table of an installation. Safe to share between threads."""

    def __init__(self, url: str, storage_options: Mapping[str, str] | None = None) -> None:
        """Remember where the table is; it is opened, and made, on first use.

        Parameters
        ----------
        url
            A folder, or an object store's URL.
        storage_options
            Credentials and options of the object store.
        """
        self._url = url
        self._options = dict(storage_options or {}) or None
        self._table: DeltaTable | None = None
        self._lock = threading.Lock()
        self._folder = local_folder(url)
        self._synced: int | None = None

    def append(self, events: pa.Table, *, writer: str, last_seq: int) -> bool:
        """Append the rows of a batch that are not durable yet.

        Parameters
        ----------
        events
            Rows of one writer in order of `seq`, as `monitor.store.event.to_arrow` makes them.
            There may be none: the batch then only says how far the writer came.
        writer
            Whose rows they are.
        last_seq
            The last `seq` the batch accounts for; later batches begin above it.

        Returns
        -------
            False if everything up to `last_seq` was durable already and nothing was written.

        Raises
        ------
        BatchInvalid
            The rows are not one writer's, not in order, or above `last_seq`.
        EventsUnreachable
            The table did not take the batch, or did not say so; send it again.
        """
        _check(events, writer, last_seq)
        with self._opened(make=True) as table:
            assert table is not None
            before = self._synced if self._synced is not None else table.version() - 1
            durable = table.transaction_version(writer) or 0
            if last_seq > durable:
                self._commit(table, events, durable, Transaction(writer, last_seq))
            # Also where there was nothing to commit: the attempt before may have died in between.
            if self._folder is not None:
                sync_commits(self._folder, range(before + 1, table.version() + 1))
                self._synced = table.version()
            return last_seq > durable

    def durable_seq(self, writer: str) -> int:
        """Read the last `seq` of a writer that the table accounts for; 0 when there is none."""
        with self._opened() as table:
            return 0 if table is None else table.transaction_version(writer) or 0

    def after(
        self,
        model: str,
        cursors: Mapping[str, int],
        *,
        columns: Sequence[str],
        limit: int | None = None,
    ) -> pa.Table:
        """Read a model's events beyond the cursors, none skipped within a writer.

        Rows come in the order of (time, writer, seq), where an event counts as no earlier than
        those before it in its writer: a clock that was set back moves nothing past a cursor.

        Parameters
        ----------
        model
            Whose events.
        cursors
            The last `seq` read of each writer; writers not named are read from the start.
        columns
            Columns to read.
        limit
            At most this many rows; what is left comes next time.
        """
        where = f"{predicates.of_model(model)} AND {predicates.beyond(cursors)}"
        if limit is not None:
            # A backlog may be long and its rows wide: choose by the narrow columns, then read.
            first = in_order(self._query(_KEYS, where)).slice(0, limit)
            reached = first.group_by("writer").aggregate([("seq", "max")]).to_pylist()
            upto = predicates.up_to({row["writer"]: row["seq_max"] for row in reached})
            where = f"{where} AND {upto}"
        found = in_order(self._query(list(dict.fromkeys([*columns, *_KEYS])), where))
        return found.select(list(columns))

    def between(
        self, model: str | None, start: datetime, end: datetime, columns: Sequence[str]
    ) -> pa.Table:
        """Read the events of [start, end), in the order of (time, writer, seq).

        Parameters
        ----------
        model
            Whose events; ``None`` for all models'.
        start, end
            Instants with a time zone.
        columns
            Columns to read.
        """
        where = f"{predicates.of_model(model)} AND {predicates.between(start, end)}"
        return self._query(columns, where, "ORDER BY at, writer, seq")

    def by_ids(self, ids: Iterable[str], columns: Sequence[str]) -> pa.Table:
        """Read events by id, in order of id; ids that are not there are left out."""
        return self._query(columns, predicates.with_ids(sorted(set(ids))), "ORDER BY event_id")

    def recent(
        self,
        model: str | None,
        limit: int,
        *,
        columns: Sequence[str],
        flagged_only: bool = False,
    ) -> pa.Table:
        """Read the newest events, newest first.

        Parameters
        ----------
        model
            Whose events; ``None`` for all models'.
        limit
            At most this many rows.
        columns
            Columns to read.
        flagged_only
            Leave out what was not flagged.
        """
        where = predicates.of_model(model) + (" AND flagged" if flagged_only else "")
        return self._query(columns, where, f"ORDER BY at DESC, writer, seq DESC LIMIT {int(limit)}")

    def writers(self) -> list[str]:
        """Read which writers ever appended rows."""
        found = self._query(["writer"], "true", "GROUP BY writer")
        return sorted(found["writer"].to_pylist())

    def count(self, model: str | None = None) -> int:
        """Count the events of a model, or of all, from the table's log alone."""
        with self._opened() as table:
            if table is None:
                return 0
            files = pa.table(table.get_add_actions(flatten=True))
        if model is not None:
            files = files.filter(pc.equal(files["partition.model"].cast(pa.string()), model))
        return pc.sum(files["num_records"]).as_py() or 0

    def _commit(
        self, table: DeltaTable, events: pa.Table, durable: int, transaction: Transaction
    ) -> None:
        properties = CommitProperties(
            max_commit_retries=MAX_COMMIT_RETRIES, app_transactions=[transaction]
        )
        fresh = events.filter(pc.greater(events["seq"], durable))
        if fresh.num_rows:
            write_deltalake(table, fresh, mode="append", commit_properties=properties)
        else:
            table.create_write_transaction(
                [], "append", table.schema(), PARTITIONS, commit_properties=properties
            )

    def _query(self, columns: Sequence[str], where: str, rest: str = "") -> pa.Table:
        empty = pa.schema([ARROW_SCHEMA.field(column) for column in columns]).empty_table()
        with self._opened() as table:
            if table is None:
                return empty
            builder = QueryBuilder().register("events", table)
        # What was registered stays as it was, so others need not wait while the rows are read.
        listed = ", ".join(f'"{column}"' for column in columns)
        with _translated(self._url):
            stream = builder.execute(f"SELECT {listed} FROM events WHERE {where} {rest}")
            found = pa.RecordBatchReader.from_stream(stream).read_all()
        # The engine hands out views and dictionaries; callers get the declared types.
        return found.cast(empty.schema)

    @contextmanager
    def _opened(self, *, make: bool = False) -> Iterator[DeltaTable | None]:
        """Hold the table as it is now; ``None`` when nobody has made it."""
        with self._lock, _translated(self._url):
            try:
                if self._table is not None:
                    self._table.update_incremental()
                else:
                    self._table = self._open()
                    if self._table is None and make:
                        self._table = self._make()
                yield self._table
            except BaseException:
                # Whatever went wrong, the next caller looks at the place afresh.
                self._table = None
                raise

    def _open(self) -> DeltaTable | None:
        try:
            return DeltaTable(self._url, storage_options=self._options)
        except TableNotFoundError:
            return None

    def _make(self) -> DeltaTable:
        try:
            return DeltaTable.create(
                self._url,
                ARROW_SCHEMA,
                mode="ignore",
                partition_by=PARTITIONS,
                name="events",
                configuration=_CONFIGURATION,
                storage_options=self._options,
            )
        except DeltaError:
            # Somebody may have made it at this moment; if not, the first error tells more.
            table = self._open()
            if table is None:
                raise
            return table


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """Raise ours in place of the library's errors."""
    try:
        yield
    except BaseException as error:
        # A panic of the library derives from BaseException and passes every `except Exception`.
        panicked = type(error).__name__ == "PanicException"
        if panicked or isinstance(error, DeltaError | OSError | pa.ArrowException):
            cause = (str(error).strip() or repr(error)).splitlines()[0]
            raise EventsUnreachable(url, cause) from error
        raise


def in_order(rows: pa.Table) -> pa.Table:
    """Sort by (time, writer, seq), no event earlier than those before it in its writer.

    Parameters
    ----------
    rows
        With the columns ``writer``, ``seq`` and ``at``.
    """
    rows = rows.sort_by([("writer", "ascending"), ("seq", "ascending")])
    at = rows["at"].cast(pa.int64()).to_numpy().copy()
    writers = rows["writer"].combine_chunks().dictionary_encode().indices.to_numpy()
    for writer in np.unique(writers):
        mine = writers == writer
        at[mine] = np.maximum.accumulate(at[mine])
    return rows.take(np.lexsort((rows["seq"].to_numpy(), writers, at)))


def _check(events: pa.Table, writer: str, last_seq: int) -> None:
    if not events.num_rows:
        return
    seqs = events["seq"].to_numpy()
    if pc.any(pc.not_equal(events["writer"], writer)).as_py():
        raise BatchInvalid(writer, "it holds rows of another writer")
    if (np.diff(seqs) <= 0).any():
        raise BatchInvalid(writer, "its rows are not in rising order of seq")
    if seqs[0] < 1:
        raise BatchInvalid(writer, f"it begins at seq {seqs[0]}, and the first is 1")
    if seqs[-1] > last_seq:
        raise BatchInvalid(writer, f"it holds seq {seqs[-1]}, above its last_seq {last_seq}")
