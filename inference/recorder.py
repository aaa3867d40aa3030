"""Writes down what was answered, before it is answered.

*Accepted* means written to the spool: that survives ``kill -9`` at once and a power cut after the
next grouped fsync. `Recorder.put` never raises and never waits for a store. When the spool fills
up because the store is away, events are kept at a falling, recorded rate; when it is full, they
are lost, counted, and leave a gap in ``(writer, seq)``.
"""

import contextlib
import logging
import threading
import time
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from inference.sender import Sender, Sink
from inference.spool import Spool
from monitor.store.event import Event

log = logging.getLogger(__name__)

_KEEP_RATES = ((0.98, 0.02), (0.95, 0.1), (0.9, 0.25), (0.8, 0.5))
"""From this share of the spool's bounds on, keep events at this rate."""


class Outcome(StrEnum):
    """What became of a record."""

    ACCEPTED = "accepted"
    SAMPLED_OUT = "sampled_out"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderOptions:
    """How much the spool may hold and how often it is flushed and sent."""

    max_events: int = 200_000
    max_bytes: int = 1 << 30
    sync_every_s: float = 0.05
    sync_every_events: int = 500
    send_every_s: float = 1.0
    send_every_events: int = 5_000
    """Sends early once this many wait; also the most that one batch holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Records by fate since this process started, and what the spool holds now."""

    accepted: int
    durable: int
    sampled_out: int
    lost: int
    spool_events: int
    spool_bytes: int


class Recorder:
    """Takes records from the request path, and sees them into the events table."""

    def __init__(self, spool: Spool, sink: Sink, options: RecorderOptions) -> None:
        self._spool = spool
        self._options = options
        self._sender = Sender(
            spool, sink, every_s=options.send_every_s, batch_events=options.send_every_events
        )
        self._encoder = msgspec.msgpack.Encoder()
        self._mutex = threading.Lock()
        self._accepted = self._sampled_out = self._lost = 0
        self._unsynced = 0
        self._flush_now = threading.Event()
        self._closing = threading.Event()
        self._complained_at = float("-inf")
        self._unwritable: str | None = None
        self._flusher = threading.Thread(target=self._flush_loop, name="spool-sync", daemon=True)

    def start(self) -> None:
        """Begin to flush and to send; what an earlier process left is sent first."""
        self._flusher.start()
        self._sender.start()

    def put(self, event: Event) -> Outcome:
        """Write the record down by one ``write(2)``; give it its writer, seq and recording rate.

        Never raises: an answer must not be lost because its record was.
        """
        try:
            with self._mutex:
                return self._put(event)
        except Exception as error:  # noqa: BLE001 - whatever it was, the request is answered
            self._lost += 1
            self._unwritable = f"records are lost, the spool cannot be written: {error}"
            self._complain(error)
            return Outcome.LOST

    def counts(self) -> Counts:
        """Return the counters."""
        return Counts(
            accepted=self._accepted,
            durable=self._sender.durable,
            sampled_out=self._sampled_out,
            lost=self._lost + self._sender.unreadable + self._spool.unreadable,
            spool_events=self._spool.events,
            spool_bytes=self._spool.size,
        )

    @property
    def trouble(self) -> str | None:
        """Why records are lost or do not reach the store, or ``None`` while they do."""
        return self._unwritable or self._sender.trouble

    def close(self, timeout_s: float) -> None:
        """Flush, give the store up to `timeout_s` seconds to take the rest, and let the spool go.

        What does not get through stays in the spool for the next process.
        """
        self._closing.set()
        self._flush_now.set()
        if self._flusher.ident is not None:
            self._flusher.join()
        with contextlib.suppress(OSError):
            self._spool.sync()
        # A sender stuck in the store's client still reads the spool: leave it to the lock's owner.
        if self._sender.close(timeout_s):
            self._spool.close()

    def _put(self, event: Event) -> Outcome:
        spool, options = self._spool, self._options
        if spool.events >= options.max_events or spool.size >= options.max_bytes:
            return self._lose()
        rate = self._keep_rate()
        if rate < 1 and _draw(event.event_id) >= rate:
            self._sampled_out += 1
            return Outcome.SAMPLED_OUT
        payload = self._encoder.encode(
            msgspec.structs.replace(
                event, writer=spool.writer, seq=spool.next_seq, recording_rate=rate
            )
        )
        if spool.size + len(payload) > options.max_bytes:
            return self._lose()
        spool.append(payload)
        self._unwritable = None
        self._accepted += 1
        self._unsynced += 1
        if self._unsynced >= self._options.sync_every_events:
            self._flush_now.set()
        return Outcome.ACCEPTED

    def _lose(self) -> Outcome:
        self._spool.skip()
        self._lost += 1
        return Outcome.LOST

    def _keep_rate(self) -> float:
        fill = max(
            self._spool.events / self._options.max_events,
            self._spool.size / self._options.max_bytes,
        )
        for share, rate in _KEEP_RATES:
            if fill >= share:
                return rate
        return 1.0

    def _flush_loop(self) -> None:
        while not self._closing.is_set():
            self._flush_now.wait(self._options.sync_every_s)
            self._flush_now.clear()
            if not self._unsynced:
                continue
            self._unsynced = 0
            try:
                self._spool.sync()
            except OSError as error:
                self._complain(error)
            self._sender.wake(self._spool.events)

    def _complain(self, error: Exception) -> None:
        now = time.monotonic()
        if now - self._complained_at >= 10:  # a full disk must not fill the log as well
            self._complained_at = now
            log.error("the spool %s cannot be written: %s", self._spool.folder, error)


def _draw(event_id: str) -> float:
    """Turn the random tail of an id into a number in [0, 1): the same answer for the same event."""
    return int(event_id[-8:], 16) / 2**32
