"""The events table: every prediction, appended in batches, exactly once.

A Delta table partitioned by model and day. A batch carries an application transaction (the writer
and the last `seq` in it), committed with the rows in one step, so the table itself remembers how
far each writer is durable, and a batch that is sent again, whole or grouped differently, adds only
what is missing.

A process that forks must open its `EventLog` after the fork: its threads do not survive it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, QueryBuilder, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from monitor.store import predicates
from monitor.store.delta_table import SharedTable
from monitor.store.event import ARROW_SCHEMA
from monitor.store.event_order import check_batch, in_order

MAX_COMMIT_RETRIES = 200
"""With the library's 15, fifty of 400 commits by 16 writers failed; with this, none."""

PARTITIONS = ["model", "date"]

_KEYS = ["writer", "seq", "at"]

SMALL_FILES = 64

_STATISTICS = [
    *("event_id", "writer", "seq", "at", "version", "case_id", "unit", "episode_id", "status"),
    *("flagged", "epoch", "actor"),
]
"""By these, files are skipped; statistics of the other columns would only swell the log."""

_CONFIGURATION: dict[str, str | None] = {
    "delta.dataSkippingStatsColumns": ",".join(_STATISTICS),
    "delta.checkpointInterval": "20",
    # Nobody travels back in time here. By default a month of log entries and a week's list of
    # merged files would stay, and each opening of the table would pay for them.
    "delta.logRetentionDuration": "interval 1 hours",
    # Longer than merged files are kept: a file that is no longer listed would never be deleted.
    "delta.deletedFileRetentionDuration": "interval 3 hours",
}


# Not `empty_table()`: where pandas is installed, that imports it.
_NO_FILES = pa.Table.from_batches(
    [],
    pa.schema(
        [
            ("size_bytes", pa.int64()),
            ("num_records", pa.int64()),
            ("min.at", pa.timestamp("us", tz="UTC")),
            ("max.at", pa.timestamp("us", tz="UTC")),
            ("partition.model", pa.string()),
            ("partition.date", pa.date32()),
        ]
    ),
)


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
        self._shared = SharedTable(
            url,
            storage_options,
            schema=ARROW_SCHEMA,
            partition_by=PARTITIONS,
            configuration=_CONFIGURATION,
        )

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
        check_batch(events, writer, last_seq)
        with self._shared.committing() as table:
            durable = table.transaction_version(writer) or 0
            if last_seq <= durable:
                return False
            fresh = events.filter(pc.greater(events["seq"], durable))
            properties = CommitProperties(
                max_commit_retries=MAX_COMMIT_RETRIES,
                app_transactions=[Transaction(writer, last_seq)],
            )
            if fresh.num_rows:
                write_deltalake(table, fresh, mode="append", commit_properties=properties)
            else:
                table.create_write_transaction(
                    [], "append", table.schema(), PARTITIONS, commit_properties=properties
                )
            return True

    def compact(self, now: datetime, *, more_than: int = SMALL_FILES) -> int:
        """Merge small files, so that reading and appending stay quick. The events stay as they are.

        Safe beside appends, reads and other compactions; the files that were merged are deleted an
        hour later, when nobody reads them any more.

        Parameters
        ----------
        now
            Recorded as the time of the merge.
        more_than
            Do nothing while the table has no more small files than this to spare.

        Returns
        -------
            How many files were merged; 0 when there was nothing to do, or another process did it.

        Raises
        ------
        EventsUnreachable
            The table does not answer.
        """
        # Imported where it is needed: a gateway only appends, and need not carry this.
        from monitor.store.compaction import merge_small_files, surplus

        if surplus(self._files(), PARTITIONS) <= more_than:
            return 0
        with self._shared.committing() as table:
            try:
                merged = merge_small_files(
                    table,
                    self._shared.options,
                    partition_by=PARTITIONS,
                    statistics=_STATISTICS,
                    max_commit_retries=MAX_COMMIT_RETRIES,
                    now=now,
                )
            except CommitFailedError:
                return 0
        with self._shared.committing() as table:
            table.vacuum(retention_hours=1, dry_run=False, enforce_retention_duration=False)
        return merged

    def durable_seq(self, writer: str) -> int:
        """Read the last `seq` of a writer that the table accounts for; 0 when there is none."""
        with self._shared.opened() as table:
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

    def sampled(
        self, model: str, start: datetime, end: datetime, columns: Sequence[str], most: int
    ) -> tuple[pa.Table, int]:
        """Read the events of [start, end), or a random sample of them when there are too many.

        Parameters
        ----------
        model
            Whose events.
        start, end
            Instants with a time zone.
        columns
            Columns to read; ``at`` is among them.
        most
            At most this many rows.

        Returns
        -------
            The rows in the order of time, and how many events there are.
        """
        where = f"{predicates.of_model(model)} AND {predicates.between(start, end)}"
        total = self._query(["seq"], where).num_rows
        # The end of an id is random, so its order says nothing about the events.
        rest = f"ORDER BY reverse(event_id) LIMIT {int(most)}" if total > most else ""
        return self._query(columns, where, rest).sort_by("at"), total

    def by_ids(self, ids: Iterable[str], columns: Sequence[str]) -> pa.Table:
        """Read events by id, in order of id; ids that are not there are left out."""
        return self._query(columns, predicates.with_ids(sorted(set(ids))), "ORDER BY event_id")

    def ids_beginning(self, prefix: str, limit: int) -> list[str]:
        """List ids that begin so, in order."""
        rest = f"ORDER BY event_id LIMIT {int(limit)}"
        found = self._query(["event_id"], predicates.ids_beginning(prefix), rest)
        return [str(each) for each in found["event_id"].to_pylist()]

    def of_cases(self, model: str, cases: Iterable[str], columns: Sequence[str]) -> pa.Table:
        """Read a model's events of these cases, in the order of (time, writer, seq)."""
        where = f"{predicates.of_model(model)} AND {predicates.of_cases(sorted(set(cases)))}"
        return self._query(columns, where, "ORDER BY at, writer, seq")

    def answers(
        self,
        model: str,
        bundle_sha: str,
        start: datetime,
        end: datetime,
        *,
        columns: Sequence[str],
        segment: tuple[str, str] | None = None,
        limit: int,
        seed: int,
    ) -> tuple[pa.Table, int]:
        """Read the answers of one bundle in [start, end), at most so many of them.

        Only the first event of each episode counts: later ones repeat it.

        Parameters
        ----------
        model, bundle_sha
            Whose answers.
        start, end
            Instants with a time zone.
        columns
            Columns to read.
        segment
            Only events of this segment, a name and its value.
        limit
            Beyond this many, a sample by hash of the id: the same one whenever it is asked for.
        seed
            Decides the sample.

        Returns
        -------
            The events in order of id, and how many there are in all.
        """
        parts = [
            predicates.of_model(model),
            predicates.between(start, end),
            predicates.answered_by(bundle_sha),
            "event_id = episode_id",
            *([] if segment is None else [predicates.of_segment(*segment)]),
        ]
        where = " AND ".join(parts)
        found = self._count(where)
        if found <= limit:
            return self._query(columns, where, "ORDER BY event_id"), found
        hashed = f"md5(concat('{int(seed)}:', event_id))"
        drawn = self._query(["event_id"], where, f"ORDER BY {hashed} LIMIT {int(limit)}")
        return self.by_ids(drawn["event_id"].to_pylist(), columns), found

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
        where = predicates.of_model(model)
        if flagged_only:
            where = f"{where} AND flagged"
        elif (since := self._newest_since(model, limit)) is not None:
            where = f"{where} AND at >= {predicates.instant(since)}"
        return self._query(columns, where, f"ORDER BY at DESC, writer, seq DESC LIMIT {int(limit)}")

    def writers(self) -> list[str]:
        """Read which writers ever appended rows."""
        found = self._query(["writer"], "true", "GROUP BY writer")
        return sorted(found["writer"].to_pylist())

    def count(self, model: str | None = None) -> int:
        """Count the events of a model, or of all, from the table's log alone."""
        return pc.sum(self._files(model)["num_records"]).as_py() or 0

    def count_answered(self, model: str, start: datetime, end: datetime) -> int:
        """Count the predictions of a model in [start, end), by whichever version."""
        parts = [predicates.of_model(model), predicates.between(start, end), "status = 'ok'"]
        return self._count(" AND ".join(parts))

    def _newest_since(self, model: str | None, limit: int) -> datetime | None:
        """Find a time since which there are `limit` events: older files need no opening."""
        newest = self._files(model).sort_by([("max.at", "descending")])
        ends = pc.cumulative_sum(newest["num_records"]).to_pylist()
        enough = next((number for number, end in enumerate(ends, 1) if end >= limit), None)
        return None if enough is None else pc.min(newest["min.at"].slice(0, enough)).as_py()

    def _files(self, model: str | None = None) -> pa.Table:
        """List the files of a model, or all, with what is known of each."""
        with self._shared.opened() as table:
            if table is None:
                return _NO_FILES
            files = pa.table(table.get_add_actions(flatten=True))
        if model is None:
            return files
        return files.filter(pc.equal(files["partition.model"].cast(pa.string()), model))

    def _query(self, columns: Sequence[str], where: str, rest: str = "") -> pa.Table:
        schema = pa.schema([ARROW_SCHEMA.field(column) for column in columns])
        listed = ", ".join(f'"{column}"' for column in columns)
        found = self.select(f"SELECT {listed} FROM events WHERE {where} {rest}")
        # The engine hands out views and dictionaries; callers get the declared types.
        return pa.Table.from_batches([], schema) if found is None else found.cast(schema)

    def _count(self, where: str) -> int:
        found = self.select(f"SELECT count(*) AS n FROM events WHERE {where}")
        return 0 if found is None else int(found["n"][0].as_py())

    def select(self, statement: str) -> pa.Table | None:
        """Run a query on ``events``, in the engine's SQL; None while there is no table.

        What comes from outside is quoted by `monitor.store.predicates`.
        """
        with self._shared.opened() as table:
            if table is None:
                return None
            builder = QueryBuilder().register("events", table)
        # What was registered stays as it was, so others need not wait while the rows are read.
        with self._shared.translated():
            stream = builder.execute(statement)
            return pa.RecordBatchReader.from_stream(stream).read_all()
