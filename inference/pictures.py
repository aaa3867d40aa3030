"""Keeps small pictures of some inputs, after they were answered and at nobody's expense.

Which inputs are kept is decided before the record is written, for the record names the picture;
the picture itself is made afterwards by one thread of the lowest priority that rests nine times as
long as it worked. What comes faster than that is dropped and counted. Nothing here raises into a
request or waits for a disk.
"""

import contextlib
import hashlib
import logging
import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from monitor.store.payloads import Payloads
from reference_data.preprocess import DecodeLimits
from reference_data.thumbnail import thumbnail_of

log = logging.getLogger(__name__)

MOST_WAITING = 256
MOST_WAITING_BYTES = 32 * 1024 * 1024
_REST = 9.0
"""Seconds of rest per second of work: a tenth of one core, whatever is flagged."""
_LONGEST_REST_S = 2.0


class Fate(StrEnum):
    """What became of a picture that should be kept."""

    KEPT = "kept"
    DROPPED = "dropped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepRules:
    """Which pictures are kept, and how large."""

    flagged: bool
    share: float
    """Of all other inputs, at random by their id."""
    sealed_share: float
    """Of inputs whose prediction is sealed, whatever it is: who decides on them may look at them,
    and a picture that is there only for flagged ones would break the seal."""
    longest_side: int
    limits: DecodeLimits

    def wants(self, event_id: str, *, flagged: bool) -> bool:
        """Decide about one input; the same answer for the same event."""
        return (flagged and self.flagged) or _draw(event_id) < self.share

    def wants_sealed(self, event_id: str) -> bool:
        """Decide about one input whose prediction is sealed."""
        return _draw(event_id) < self.sealed_share


@dataclass(frozen=True, slots=True)
class _Waiting:
    reference: str
    source: bytes
    mode: Literal["RGB", "L"]


class PictureKeeper:
    """Takes pictures from the request path, and sees them into the store."""

    def __init__(self, payloads: Payloads, rules: KeepRules) -> None:
        self._payloads = payloads
        self.rules = rules
        self._fates = dict.fromkeys(Fate, 0)
        self._flagged: deque[_Waiting] = deque()
        self._sampled: deque[_Waiting] = deque()
        self._bytes = 0
        self._ready = threading.Condition()
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._complained_at = float("-inf")
        self._thread = threading.Thread(target=self._run, name="pictures", daemon=True)

    def start(self) -> None:
        """Begin to keep."""
        self._thread.start()

    def offer(
        self, reference: str, source: bytes, mode: Literal["RGB", "L"], *, flagged: bool
    ) -> None:
        """Hand over an input that was answered and recorded. Returns at once and never raises.

        Parameters
        ----------
        reference
            As `monitor.store.payloads.reference_of` names it, and as the record has it.
        source
            The upload.
        mode
            What the model takes.
        flagged
            Whether it was: in a flood of flagged inputs the random sample goes first.
        """
        with self._ready:
            waiting = len(self._flagged) + len(self._sampled)
            full = waiting >= MOST_WAITING or self._bytes + len(source) > MOST_WAITING_BYTES
            if self._closing.is_set() or full:
                self._fates[Fate.DROPPED] += 1
                return
            (self._flagged if flagged else self._sampled).append(_Waiting(reference, source, mode))
            self._bytes += len(source)
            self._ready.notify()

    def counts(self) -> dict[Fate, int]:
        """Return pictures by fate since this process started."""
        return dict(self._fates)

    def close(self, timeout_s: float) -> None:
        """Keep what waits for up to `timeout_s` seconds; drop the rest."""
        self._deadline = time.monotonic() + timeout_s
        self._closing.set()
        with self._ready:
            self._ready.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s + 1)

    def _run(self) -> None:
        # Only this thread's: on Linux a thread has a priority of its own.
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        while (waiting := self._next()) is not None:
            begun = time.thread_time()
            self._fates[self._keep(waiting)] += 1
            worked = time.thread_time() - begun
            self._closing.wait(min(_REST * worked, _LONGEST_REST_S))

    def _next(self) -> _Waiting | None:
        with self._ready:
            while not self._sampled and not self._flagged and not self._closing.is_set():
                self._ready.wait()
            left = len(self._sampled) + len(self._flagged)
            if not left or time.monotonic() > self._deadline:
                self._fates[Fate.DROPPED] += left
                return None
            waiting = (self._sampled or self._flagged).popleft()
            self._bytes -= len(waiting.source)
            return waiting

    def _keep(self, waiting: _Waiting) -> Fate:
        rules = self.rules
        try:
            jpeg = thumbnail_of(waiting.source, waiting.mode, rules.limits, rules.longest_side)
            self._payloads.put(waiting.reference, jpeg)
        except Exception as error:  # noqa: BLE001 - whatever it was, the next picture is tried
            now = time.monotonic()
            if now - self._complained_at >= 10:  # a full disk must not fill the log as well
                self._complained_at = now
                log.warning("the picture %s was not kept: %s", waiting.reference, error)
            return Fate.FAILED
        return Fate.KEPT


def _draw(event_id: str) -> float:
    """Turn an id into a number in [0, 1), unrelated to what else is drawn from it."""
    digest = hashlib.blake2b(event_id.encode(), digest_size=8, person=b"pictures").digest()
    return int.from_bytes(digest) / 2**64
