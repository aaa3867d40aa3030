"""Moves the spool into the events table: whole batches, exactly once."""

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec
import pyarrow as pa

from inference.segment import Frame
from inference.spool import Spool
from monitor.store.event import Event, to_arrow

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 30.0
_BATCH_BYTES = 32 << 20


class Sink(Protocol):
    """Where events become durable; `monitor.store.events.EventLog` is one."""

    def append(self, events: pa.Table, *, writer: str, last_seq: int) -> bool:
        """Add a batch; return False, adding nothing, if `last_seq` of `writer` is in already."""

    def durable_seq(self, writer: str) -> int:
        """Return the last seq of `writer` that is in, 0 for none."""


class Sender:
    """One thread that reads synced frames, appends them to the sink and then releases them.

    A batch is kept and tried again until it is in. Its last seq goes into the same transaction as
    its rows, so an append whose answer was lost is recognised when it is repeated.
    """

    def __init__(self, spool: Spool, sink: Sink, *, every_s: float, batch_events: int) -> None:
        self._spool = spool
        self._sink = sink
        self._every_s = every_s
        self._batch_events = batch_events
        self._decoder = msgspec.msgpack.Decoder(Event)
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._thread = threading.Thread(target=self._run, name="spool-send", daemon=True)
        self.durable = 0
        """Events this process has seen into the sink."""
        self.unreadable = 0
        """Events that could not be understood; their segments are kept as ``.damaged`` files."""
        self.trouble: str | None = None
        """Why nothing gets through, or ``None`` while it does."""

    def start(self) -> None:
        """Begin with what an earlier process left."""
        self._thread.start()

    def wake(self, waiting: int) -> None:
        """Send before the interval is over if enough is waiting."""
        if waiting >= self._batch_events:
            self._wake.set()

    def close(self, timeout_s: float) -> bool:
        """Send the rest for up to `timeout_s` seconds; tell whether the thread has ended."""
        self._deadline = time.monotonic() + timeout_s
        self._closing.set()
        self._wake.set()
        if self._thread.ident is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        durable_seq = self._attempt(lambda: self._sink.durable_seq(self._spool.writer))
        if durable_seq is None:
            return
        while time.monotonic() < self._deadline:
            frames = self._spool.read(self._batch_events, _BATCH_BYTES)
            if frames and not self._send(frames, durable_seq):
                return
            if len(frames) >= self._batch_events:
                continue
            if self._closing.is_set():
                if not frames:
                    return
                continue
            self._wake.wait(self._every_s)
            self._wake.clear()

    def _send(self, frames: list[Frame], durable_seq: int) -> bool:
        """Append what is not in yet, then release; False when the process ends first."""
        events = self._decode([frame for frame in frames if frame.seq > durable_seq])
        last_seq = frames[-1].seq
        if events:
            table = to_arrow(events)
            appended = self._attempt(
                lambda: self._sink.append(table, writer=self._spool.writer, last_seq=last_seq)
            )
            if appended is None:
                return False
        self._spool.release(last_seq, len(frames))
        self.durable += len(events)
        return True

    def _decode(self, frames: list[Frame]) -> list[Event]:
        events = []
        for frame in frames:
            try:
                events.append(self._decoder.decode(frame.payload))
            except msgspec.MsgspecError as error:
                self.unreadable += 1
                self._spool.keep(frame.seq)
                log.error("record %d of the spool cannot be understood: %s", frame.seq, error)
        return events

    def _attempt(self, action: Callable[[], _Result]) -> _Result | None:
        """Try until it works; ``None`` when the process ends first."""
        pause = _FIRST_PAUSE_S
        while True:
            try:
                result = action()
            # The Delta client panics with a BaseException, and a dead sender is a full spool.
            except BaseException as error:  # noqa: BLE001
                if self.trouble is None:
                    log.warning("events do not reach the store, trying on: %s", error)
                self.trouble = f"events do not reach the store: {error}"
            else:
                if self.trouble is not None:
                    log.info("events reach the store again")
                self.trouble = None
                return result
            if time.monotonic() + pause > self._deadline:
                return None
            # Jitter: gateways that lost the same store must not come back in step.
            pause_now = pause * random.uniform(0.5, 1.5)
            if self._closing.is_set():
                time.sleep(min(pause_now, _FIRST_PAUSE_S))
            else:
                self._closing.wait(pause_now)
            pause = min(pause * 2, _LONGEST_PAUSE_S)
