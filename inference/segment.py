"""One file of the spool: eight bytes of format, then frames.

A frame is length, CRC-32 and seq, followed by the payload. Reading ends at the first frame that is
not whole.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FORMAT = b"FWSPOOL\x01"
_FRAME = struct.Struct("<IIQ")


@dataclass(frozen=True, slots=True)
class Frame:
    """One record as it lies in the spool."""

    seq: int
    payload: bytes

    @property
    def size(self) -> int:
        """Bytes the frame takes on disk."""
        return _FRAME.size + len(self.payload)


@dataclass(slots=True)
class Segment:
    """What is known of one file; its owner keeps it up to date."""

    path: Path
    size: int
    """Bytes of whole frames, format included."""
    last_seq: int
    events: int = 0
    synced: int = 0
    """Bytes known to survive a power cut: only these are read."""
    synced_events: int = 0
    taken: int = 0
    """Events that were read, or given up as unreadable."""
    lost: int = 0
    """Events that another process wrote here and that can no longer be read."""
    damaged: bool = False
    descriptor: int | None = None


def flush(segment: Segment) -> None:
    """Make what was written survive a power cut."""
    if segment.descriptor is not None:
        os.fdatasync(segment.descriptor)
        return
    descriptor = os.open(segment.path, os.O_RDONLY)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def frame(seq: int, payload: bytes) -> bytes:
    """Return the bytes of one frame."""
    check = zlib.crc32(payload, zlib.crc32(_FRAME.pack(len(payload), 0, seq)))
    return _FRAME.pack(len(payload), check, seq) + payload


def write_whole(segment: Segment, data: bytes) -> None:
    """Append all of `data` by one ``write(2)``, or nothing.

    Raises
    ------
    OSError
        Nothing was appended. If half of it could not be taken back, the descriptor is closed.
    """
    assert segment.descriptor is not None
    try:
        written = os.write(segment.descriptor, data)
        if written != len(data):
            raise OSError(f"only {written} of {len(data)} bytes fit into {segment.path}")
    except OSError:
        try:
            os.ftruncate(segment.descriptor, segment.size)
        except OSError:
            # What follows half a frame can never be read: this segment ends here.
            os.close(segment.descriptor)
            segment.descriptor = None
        raise


def read_frames(path: Path, start: int, end: int) -> Iterator[Frame]:
    """Yield the whole frames between two offsets, up to the first that is not whole."""
    with path.open("rb") as file:
        file.seek(start)
        position = start
        while position + _FRAME.size <= end:
            length, check, seq = _FRAME.unpack(file.read(_FRAME.size))
            position += _FRAME.size + length
            # A page of zeros, as a power cut may leave, must not pass for an empty record.
            if length == 0 or position > end:
                return
            payload = file.read(length)
            if zlib.crc32(payload, zlib.crc32(_FRAME.pack(length, 0, seq))) != check:
                return
            yield Frame(seq, payload)


def scan(path: Path, first_seq: int, *, is_last: bool) -> Segment:
    """Find out what a segment left by another process holds."""
    on_disk = path.stat().st_size
    segment = Segment(path, len(FORMAT), first_seq - 1)
    with path.open("rb") as file:
        known_format = file.read(len(FORMAT)) == FORMAT
    if known_format:
        for whole in read_frames(path, len(FORMAT), on_disk):
            segment.size += whole.size
            segment.last_seq = whole.seq
            segment.events += 1
        _count_lost(segment, on_disk)
    # A torn tail is how the last segment of a killed process looks; anywhere else it is damage.
    foreign = not known_format and on_disk > len(FORMAT)
    damaged = foreign or segment.lost > 0 or not is_last
    segment.damaged = segment.size < on_disk and damaged
    return segment


def _count_lost(segment: Segment, on_disk: int) -> None:
    """Look for whole frames beyond one that is not: it was damaged then, and not cut short.

    What follows it was written before the process ended, so its seq must not be given out again.
    """
    position, passed = segment.size, 0
    with segment.path.open("rb") as file:
        while position + _FRAME.size <= on_disk:
            file.seek(position)
            length, _, _ = _FRAME.unpack(file.read(_FRAME.size))
            if length == 0:
                return
            whole = next(read_frames(segment.path, position, on_disk), None)
            passed += 1
            if whole is not None and whole.seq > segment.last_seq:
                segment.last_seq = whole.seq
                segment.lost = passed
            position += _FRAME.size + length
