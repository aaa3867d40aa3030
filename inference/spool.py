"""The write-ahead spool: a folder of append-only segments that outlives the process.

::

    lock                     flock: one process at a time
    writer                   the name `seq` counts under, made anew whenever the segments are gone
    boot                     the boot of the machine that last wrote here
    closed                   the next seq, left by an orderly close
    00000000000000000001.seg a segment, named for the first seq it may hold

A segment is eight bytes of format and then frames: length, CRC-32 and seq, followed by the payload.
A frame is written by one ``write(2)``: what that call returned for survives ``kill -9``. What
`sync` returned for survives a power cut. Reading ends at the first frame that is not whole.
"""

import contextlib
import fcntl
import os
import threading
from pathlib import Path
from typing import Self
from uuid import uuid4

from inference.errors import SpoolInUse, SpoolUnusable
from inference.segment import FORMAT, Frame, Segment, flush, frame, read_frames, scan, write_whole

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Spool:
    """Appends frames, reads them back in order, and forgets them once they are safe elsewhere.

    One thread appends; others may sync, read and release. Appending waits for none of them.
    """

    def __init__(
        self, folder: Path, lock_descriptor: int, writer: str, segment_bytes: int, next_seq: int
    ) -> None:
        self.folder = folder
        self.writer = writer
        self.next_seq = next_seq
        """The seq the next frame gets. Skipping one leaves a gap that readers of the events see."""
        self._lock_descriptor = lock_descriptor
        self._segment_bytes = segment_bytes
        self._mutex = threading.Lock()
        self._segments: list[Segment] = []
        self._events = 0
        self._bytes = 0
        self.unreadable = 0
        """Events that were appended but could not be read back: the disk changed them."""
        self._directory_dirty = False
        self._reading = 0
        self._offset = len(FORMAT)

    @classmethod
    def open(cls, folder: Path, *, name: str, segment_bytes: int) -> Self:
        """Take the folder over, with whatever a previous process left in it.

        Parameters
        ----------
        folder
            Made if it is not there.
        name
            Begins the writer's name, for people; the rest is random.
        segment_bytes
            Size at which a new segment is begun.

        Raises
        ------
        SpoolInUse
            Another process holds the folder.
        OSError
            The folder cannot be made or written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        lock_descriptor = _lock(folder)
        try:
            paths = sorted(path for path in folder.glob("*.seg") if path.stem.isdecimal())
            spool = cls(folder, lock_descriptor, _writer(folder, name, paths), segment_bytes, 1)
            spool._recover(paths)
            spool._begin_segment()
            spool.sync()
        except BaseException:
            os.close(lock_descriptor)
            raise
        return spool

    @property
    def events(self) -> int:
        """Frames that were not released yet."""
        return self._events

    @property
    def size(self) -> int:
        """Bytes of all segments on disk."""
        return self._bytes

    def append(self, payload: bytes) -> None:
        """Write one frame under `next_seq`, by one ``write(2)``.

        The seq is used up even when writing fails: the gap it leaves is how a loss shows.

        Raises
        ------
        OSError
            The frame is not in the spool.
        """
        seq = self.next_seq
        self.next_seq = seq + 1
        if self._segments[-1].size >= self._segment_bytes:
            self._begin_segment(first_seq=seq)
        segment = self._segments[-1]
        if segment.descriptor is None:  # a failed write could not be undone here
            segment = self._begin_segment(first_seq=seq)
        data = frame(seq, payload)
        write_whole(segment, data)
        with self._mutex:
            segment.size += len(data)
            segment.events += 1
            segment.last_seq = seq
            self._events += 1
            self._bytes += len(data)

    def skip(self) -> None:
        """Use up a seq without a frame, so that the loss of an event shows as a gap."""
        self.next_seq += 1

    def sync(self) -> None:
        """Make every frame appended so far survive a power cut, and let it be read.

        Raises
        ------
        OSError
            The disk reported an error. The frames are readable all the same: sending them on is
            then the best that can be done for them.
        """
        with self._mutex:
            waiting = [(s, s.size, s.events) for s in self._segments if s.synced < s.size]
            directory_dirty, self._directory_dirty = self._directory_dirty, False
        failure: OSError | None = None
        for segment, _, _ in waiting:
            try:
                flush(segment)
            except OSError as error:
                failure = error
        if directory_dirty:
            _sync_directory(self.folder)
        # Only now: a frame sent on but lost here would let its seq be given out twice.
        for segment, size, events in waiting:
            segment.synced, segment.synced_events = size, events
            self._close_if_complete(segment)
        if failure is not None:
            raise failure

    def read(self, limit: int, limit_bytes: int) -> list[Frame]:
        """Return the next frames that are synced, and move on.

        Parameters
        ----------
        limit, limit_bytes
            Stop after this many frames, or once this many bytes are exceeded.
        """
        frames: list[Frame] = []
        size = 0
        while len(frames) < limit and size < limit_bytes:
            with self._mutex:
                segment = self._segments[self._reading]
                end, is_last = segment.synced, self._reading == len(self._segments) - 1
                complete = not is_last and segment.synced == segment.size
            if self._offset >= end:
                if not complete:
                    break
                self._reading += 1
                self._offset = len(FORMAT)
                continue
            before = len(frames)
            for whole in read_frames(segment.path, self._offset, end):
                frames.append(whole)
                size += len(whole.payload)
                self._offset += whole.size
                if len(frames) >= limit or size >= limit_bytes:
                    break
            segment.taken += len(frames) - before
            if len(frames) == before:
                self._give_up_rest(segment, end)
        return frames

    def release(self, last_seq: int, count: int) -> None:
        """Forget frames that are safe elsewhere, and delete the segments that held nothing else.

        Parameters
        ----------
        last_seq
            Every frame up to and including this one is safe.
        count
            How many frames this call releases.
        """
        with self._mutex:
            self._events -= count
            gone = [s for s in self._segments[: self._reading] if s.last_seq <= last_seq]
            self._bytes -= sum(segment.size for segment in gone)
            self._segments = self._segments[len(gone) :]
            self._reading -= len(gone)
        if gone:
            # The newer segment, whose name holds the count of seq, must be on disk first.
            _sync_directory(self.folder)
        for segment in gone:
            if segment.damaged:
                segment.path.rename(segment.path.with_suffix(".damaged"))
            else:
                segment.path.unlink(missing_ok=True)

    def keep(self, seq: int) -> None:
        """Keep the segment that holds `seq` as a ``.damaged`` file instead of deleting it."""
        for segment in self._segments:
            if seq <= segment.last_seq:
                segment.damaged = True
                return

    def close(self) -> None:
        """Sync, note the orderly end, and let another process have the folder."""
        with contextlib.suppress(OSError):
            self.sync()
        with contextlib.suppress(OSError):
            _write_durably(self.folder / "closed", str(self.next_seq))
        for segment in self._segments:
            if segment.descriptor is not None:
                os.close(segment.descriptor)
                segment.descriptor = None
        os.close(self._lock_descriptor)

    def _recover(self, paths: list[Path]) -> None:
        for path in paths:
            first_seq = int(path.stem)
            segment = scan(path, first_seq, is_last=path == paths[-1])
            self.next_seq = max(self.next_seq, segment.last_seq + 1)
            self.unreadable += segment.lost
            if segment.events:
                self._segments.append(segment)
                self._events += segment.events
                self._bytes += segment.size
            elif segment.damaged:
                path.rename(path.with_suffix(".damaged"))
            else:
                path.unlink()
        boot, closed = self.folder / "boot", self.folder / "closed"
        if closed.exists():
            self.next_seq = max(self.next_seq, int(closed.read_text()))
            closed.unlink()
        elif boot.exists() and boot.read_text() != _boot_id():
            # The machine went down while this was open: events after the last sync may be lost.
            self.next_seq += 1
        _write_durably(boot, _boot_id())

    def _begin_segment(self, first_seq: int | None = None) -> Segment:
        seq = self.next_seq if first_seq is None else first_seq
        path = self.folder / f"{seq:020d}.seg"
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, FORMAT)
        except OSError:
            os.close(descriptor)
            raise
        segment = Segment(path, len(FORMAT), seq - 1, descriptor=descriptor)
        with self._mutex:
            self._segments.append(segment)
            self._bytes += segment.size
            self._directory_dirty = True
        return segment

    def _give_up_rest(self, segment: Segment, end: int) -> None:
        with self._mutex:
            lost = segment.synced_events - segment.taken
            segment.taken = segment.synced_events
            segment.damaged = True
            self._events -= lost
        self.unreadable += lost
        self._offset = end

    def _close_if_complete(self, segment: Segment) -> None:
        with self._mutex:
            done = segment is not self._segments[-1] and segment.synced == segment.size
            descriptor = segment.descriptor
            if done:
                segment.descriptor = None
        if done and descriptor is not None:
            os.close(descriptor)


def check_free(folder: Path) -> None:
    """Make sure that a spool can be opened here, before anything else is.

    Raises
    ------
    SpoolInUse
        Another process holds the folder.
    SpoolUnusable
        The folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.close(_lock(folder))
    except OSError as error:
        raise SpoolUnusable(folder, error.strerror or str(error)) from error


def _lock(folder: Path) -> int:
    descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise SpoolInUse(folder) from error
    return descriptor


def _writer(folder: Path, name: str, segments: list[Path]) -> str:
    path = folder / "writer"
    if segments and path.exists():
        return path.read_text()
    # Without segments the count of seq is lost. Under the old name the events table would take the
    # first new batches for replays and drop them.
    writer = f"{name}.{uuid4().hex[:12]}"
    _write_durably(path, writer)
    return writer


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return "unknown"


def _write_durably(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync_directory(path.parent)


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
