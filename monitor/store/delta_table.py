"""One Delta table, shared by threads: opened late, made once, always as it is now."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from monitor.errors import EventsUnreachable
from monitor.store.local_sync import local_folder, sync_commits


class SharedTable:
    """A Delta table that several threads, and through other instances other processes, use."""

    def __init__(
        self,
        url: str,
        storage_options: Mapping[str, str] | None,
        *,
        schema: pa.Schema,
        partition_by: list[str],
        configuration: Mapping[str, str | None],
    ) -> None:
        """Remember where the table is and how to make it.

        Parameters
        ----------
        url
            A folder, or an object store's URL.
        storage_options
            Credentials and options of the object store.
        schema, partition_by, configuration
            How to make the table where there is none.
        """
        self._url = url
        self.options = dict(storage_options or {}) or None
        """Credentials and options of the object store."""
        self._schema = schema
        self._partition_by = partition_by
        self._configuration = configuration
        self._table: DeltaTable | None = None
        self._lock = threading.Lock()
        self._folder = local_folder(url)
        self._synced: int | None = None

    @contextmanager
    def opened(self) -> Iterator[DeltaTable | None]:
        """Hold the table as it is now, other threads waiting; ``None`` when nobody has made it."""
        with self._lock, self.translated():
            try:
                self._table = self._refreshed()
                yield self._table
            except BaseException:
                # Whatever went wrong, the next caller looks at the place afresh.
                self._table = None
                raise

    @contextmanager
    def committing(self) -> Iterator[DeltaTable]:
        """Hold the table for a commit, made if need be; on leaving, commits are on the disk."""
        with self._lock, self.translated():
            try:
                self._table = self._refreshed() or self._make()
                before = self._table.version() - 1 if self._synced is None else self._synced
                yield self._table
                self._table.update_incremental()
                # Also where nothing was committed: an attempt before may have died in between.
                if self._folder is not None:
                    sync_commits(self._folder, range(before + 1, self._table.version() + 1))
                    self._synced = self._table.version()
            except BaseException:
                self._table = None
                raise

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise ours in place of the library's errors."""
        try:
            yield
        except BaseException as error:
            # A panic of the library derives from BaseException and passes `except Exception`.
            panicked = type(error).__name__ == "PanicException"
            if panicked or isinstance(error, DeltaError | OSError | pa.ArrowException):
                cause = (str(error).strip() or repr(error)).splitlines()[0]
                raise EventsUnreachable(self._url, cause) from error
            raise

    def _refreshed(self) -> DeltaTable | None:
        if self._table is None:
            return self._open()
        try:
            self._table.update_incremental()
        except DeltaError:
            # After a long silence the log entries in between are gone: begin at a checkpoint.
            return self._open()
        return self._table

    def _open(self) -> DeltaTable | None:
        try:
            return DeltaTable(self._url, storage_options=self.options)
        except TableNotFoundError:
            return None

    def _make(self) -> DeltaTable:
        try:
            return DeltaTable.create(
                self._url,
                self._schema,
                mode="ignore",
                partition_by=self._partition_by,
                configuration=self._configuration,
                storage_options=self.options,
            )
        except DeltaError:
            # Somebody may have made it at this moment; if not, the first error tells more.
            table = self._open()
            if table is None:
                raise
            return table
