"""The order of events: rising `seq` within a writer, time between writers."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitor.errors import BatchInvalid


def check_batch(events: pa.Table, writer: str, last_seq: int) -> None:
    """Make sure that a batch holds one writer's events in order.

    Raises
    ------
    BatchInvalid
        The rows are not one writer's, not in rising order, or above `last_seq`.
    """
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
