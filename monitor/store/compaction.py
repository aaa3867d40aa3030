"""Merge small files of the events table, so that opening, appending and reading stay quick.

Every batch leaves one file per model and day, and whoever opens the table pays for each. The
library has a compaction of its own, but lets two processes commit the same merge, and then every
event is there twice (seen with 1.6.6). So the merge is committed here with an application
transaction, of which the library refuses the second.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.fs import DeltaStorageHandler
from deltalake.transaction import AddAction, RemoveAction
from pyarrow.fs import FileSystem, PyFileSystem

APPLICATION = "_rewrite"
"""Every rewrite of files takes the next version of it; no writer is called so."""

TARGET_BYTES = 16 * 2**20
"""Files of this size are left alone: merging them would rewrite the same events too often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    path: str
    """Where it is in storage; the library encodes what it writes and lists it encoded."""
    size: int
    partition: tuple[tuple[str, str], ...]


def surplus(files: pa.Table, partition_by: list[str]) -> int:
    """Count the small files beyond one per partition.

    Parameters
    ----------
    files
        As `DeltaTable.get_add_actions` lists them, flattened.
    partition_by
        The table's partition columns.
    """
    small = files.filter(pc.less(files["size_bytes"], TARGET_BYTES))
    partitions = small.group_by([f"partition.{column}" for column in partition_by]).aggregate([])
    return int(small.num_rows - partitions.num_rows)


def merge_small_files(
    table: DeltaTable,
    storage_options: dict[str, str] | None,
    *,
    partition_by: list[str],
    statistics: list[str],
    max_commit_retries: int,
    now: datetime,
) -> int:
    """Replace runs of small files by one file each, in one commit.

    Parameters
    ----------
    table
        As it is now; it must not have moved on by more than appends when this commits.
    storage_options
        Credentials and options of the object store.
    partition_by
        The table's partition columns.
    statistics
        Columns to write the least and greatest value of into the log.
    max_commit_retries
        How often to try again when appends come in between.
    now
        Recorded as the time of the removal.

    Returns
    -------
        How many files were replaced.

    Raises
    ------
    CommitFailedError
        Another process merged first; nothing was changed.
    """
    filesystem = PyFileSystem(DeltaStorageHandler(table.table_uri, storage_options))
    millis = int(now.timestamp() * 1000)
    actions: list[AddAction | RemoveAction] = []
    replaced = 0
    for run in _runs(_small_files(table, partition_by)):
        actions.append(_merge(run, filesystem, statistics, millis))
        actions += [
            RemoveAction(file.path, False, millis, file.size, dict(file.partition)) for file in run
        ]
        replaced += len(run)
    if actions:
        turn = Transaction(APPLICATION, (table.transaction_version(APPLICATION) or 0) + 1)
        table.create_write_transaction(
            actions,
            "append",
            table.schema(),
            partition_by,
            commit_properties=CommitProperties(
                max_commit_retries=max_commit_retries, app_transactions=[turn]
            ),
        )
    return replaced


def _small_files(table: DeltaTable, partition_by: list[str]) -> list[_File]:
    """List small files by partition, oldest events first."""
    files = pa.table(table.get_add_actions(flatten=True))
    files = files.filter(pc.less(files["size_bytes"], TARGET_BYTES))
    columns = [f"partition.{column}" for column in partition_by]
    order = [(column, "ascending") for column in [*columns, "min.at", "path"]]
    return [
        _File(
            path=unquote(row["path"]),
            size=row["size_bytes"],
            partition=tuple((name, str(row[f"partition.{name}"])) for name in partition_by),
        )
        for row in files.sort_by(order).to_pylist()
    ]


def _runs(files: list[_File]) -> Iterator[list[_File]]:
    """Group neighbours of one partition up to the target size; a file alone stays as it is."""
    run: list[_File] = []
    for file in files:
        fits = sum(member.size for member in run) + file.size <= TARGET_BYTES
        if run and (run[0].partition != file.partition or not fits):
            if len(run) > 1:
                yield run
            run = []
        run.append(file)
    if len(run) > 1:
        yield run


def _merge(
    run: list[_File], filesystem: FileSystem, statistics: list[str], millis: int
) -> AddAction:
    parts = [pq.read_table(file.path, filesystem=filesystem, partitioning=None) for file in run]
    rows = pa.concat_tables(parts).sort_by([("writer", "ascending"), ("seq", "ascending")])
    path = f"merged/{uuid4()}.zstd.parquet"
    with filesystem.open_output_stream(path) as sink:
        pq.write_table(rows, sink, compression="zstd", row_group_size=16_384)
    return AddAction(
        path=path,
        size=filesystem.get_file_info(path).size,
        partition_values=dict(run[0].partition),
        modification_time=millis,
        data_change=False,
        stats=json.dumps(_statistics(rows, statistics)),
    )


def _statistics(rows: pa.Table, columns: list[str]) -> dict[str, object]:
    least: dict[str, object] = {}
    greatest: dict[str, object] = {}
    for column in columns:
        bounds = pc.min_max(rows[column])
        if bounds["min"].is_valid:
            least[column] = _plain(bounds["min"].as_py())
            greatest[column] = _plain(bounds["max"].as_py())
    return {
        "numRecords": rows.num_rows,
        "minValues": least,
        "maxValues": greatest,
        "nullCount": {column: rows[column].null_count for column in columns},
    }


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value
