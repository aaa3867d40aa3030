"""Pictures to the gateway, steadily, and what came of each.

A lean client on raw keep-alive connections, in a thread of its own: a general one costs more per
request than the gateway. It looks at who acted, on what and why; the digit shown is only its own
knowledge, for counting.
"""

import asyncio
import itertools
import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from benchmarks.story_field import Visit

BOUNDARY = "wagons"
CONNECTIONS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A wagon that was answered."""

    case: str
    visit: Visit
    sent_at: datetime
    answered_at: datetime
    actor: str
    """Who acts: ``human`` or ``model``."""
    reason: str
    action: str | None
    flagged: bool
    event_id: str

    @property
    def wrong(self) -> bool:
        """Whether the model threw a switch that leads elsewhere."""
        return self.action is not None and self.action != f"switch to {self.visit.digit}"


@dataclass(slots=True)
class Tallies:
    """What was counted of everything so far."""

    sent: int = 0
    answered: int = 0
    failed: int = 0
    by_model: int = 0
    actions: int = 0
    wrong: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    """Of the broken camera: answered, flagged, actions, wrong, wrong_flagged."""
    first_broken: float | None = None
    """Time of the story when the broken camera's first picture was sent."""

    def take(self, passage: Passage) -> None:
        """Count one more."""
        self.answered += 1
        self.reasons[passage.reason] += 1
        self.by_model += passage.actor == "model"
        self.actions += passage.action is not None
        self.wrong += passage.wrong
        if passage.visit.broken:
            self.broken["answered"] += 1
            self.broken["flagged"] += passage.flagged
            self.broken["actions"] += passage.action is not None
            self.broken["wrong"] += passage.wrong
            self.broken["wrong_flagged"] += passage.wrong and passage.flagged


class Traffic:
    """Sends while the context is open. `passages` grows; whoever reads it keeps a place."""

    def __init__(
        self,
        port: int,
        key: str,
        healthy: Iterator[Visit],
        rate: float,
        cases: str = "wagon",
    ) -> None:
        self.passages: list[Passage] = []
        self.tallies = Tallies()
        self.faults: list[str] = []
        self._port, self._key = port, key
        self.rate = rate
        """Pictures of healthy cameras a second; may be changed meanwhile."""
        self._healthy = healthy
        self._broken: tuple[Iterator[Visit], float] | None = None
        self._cases, self._numbers = cases, itertools.count(1)
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._thread.join(30)

    def tallies_at(self, moment: datetime) -> Tallies:
        """Count what had been answered at a moment that may be past."""
        counted = Tallies()
        for passage in list(self.passages):
            if passage.answered_at <= moment:
                counted.take(passage)
        return counted

    def add_camera(self, visits: Iterator[Visit], every_s: float) -> None:
        """Let one more camera send, so often."""
        self._broken = visits, every_s

    def remove_camera(self) -> None:
        """Take the camera that was added away again."""
        self._broken = None

    async def _run(self) -> None:
        waiting: asyncio.Queue[Visit] = asyncio.Queue(maxsize=1)
        tasks = [asyncio.create_task(self._send(waiting)) for _ in range(CONNECTIONS)]
        tasks += [asyncio.create_task(self._send_broken())]
        tick = time.monotonic()
        while not self._leaving.is_set():
            visit = next(self._healthy)
            while not self._leaving.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(waiting.put(visit), 0.2)
                    break
            # A machine that is busy sends less; it does not catch up in a burst.
            tick = max(tick + 1 / self.rate, time.monotonic() - 0.1)
            await asyncio.sleep(max(0.0, tick - time.monotonic()))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, waiting: "asyncio.Queue[Visit]") -> None:
        async with _Connection(self._port) as connection:
            while True:
                await self._ask(connection, await waiting.get())

    async def _send_broken(self) -> None:
        async with _Connection(self._port) as connection:
            while True:
                if self._broken is None:
                    await asyncio.sleep(0.05)
                    continue
                visits, every_s = self._broken
                if self.tallies.first_broken is None:
                    self.tallies.first_broken = time.monotonic()
                await self._ask(connection, next(visits))
                await asyncio.sleep(every_s)

    async def _ask(self, connection: "_Connection", visit: Visit) -> None:
        case = f"{self._cases}-{next(self._numbers):06d}"
        sent_at = datetime.now(UTC)
        self.tallies.sent += 1
        try:
            status, body = await connection.ask(_request(self._key, visit, case))
        except (OSError, EOFError) as fault:
            self.tallies.failed += 1
            self.faults.append(str(fault))
            await asyncio.sleep(0.2)
            return
        if status not in (200, 202):
            self.tallies.failed += 1
            self.faults.append(f"{status}: {body[:200]!r}")
            await asyncio.sleep(0.05)
            return
        said = json.loads(body)
        passage = Passage(
            case=case,
            visit=visit,
            sent_at=sent_at,
            answered_at=datetime.now(UTC),
            actor=said["actor"],
            reason=said["reason"],
            action=said.get("action"),
            flagged=bool(said.get("flagged")),
            event_id=said["event_id"],
        )
        self.tallies.take(passage)
        self.passages.append(passage)


class Seen:
    """Looks up which digit a camera saw at a moment, as a reader sees it in the picture."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._read = 0
        self._by_camera: dict[str, list[Passage]] = defaultdict(list)

    def digit(self, camera: str, at: datetime) -> int | None:
        """Find the wagon a camera saw at the moment its picture reached the gateway."""
        passages = self._traffic.passages
        while self._read < len(passages):
            passage = passages[self._read]
            self._by_camera[passage.visit.camera].append(passage)
            self._read += 1
        for passage in reversed(self._by_camera[camera]):
            if passage.sent_at <= at <= passage.answered_at:
                return passage.visit.digit
        return None


class _Connection:
    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> "_Connection":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._streams is not None:
            self._streams[1].close()
            with suppress(OSError):
                await self._streams[1].wait_closed()

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send one request; return status and body. A connection that broke is made anew."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]
            return int(head[9:12]), await reader.readexactly(int(length))
        except BaseException:
            if self._streams is not None:
                self._streams[1].close()
            self._streams = None
            raise


def _request(key: str, visit: Visit, case: str) -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in (
            ("unit", visit.camera),
            ("case_id", case),
            ("segment", json.dumps({"site": visit.site})),
        )
    ]
    named = 'name="file"; filename="wagon.png"\r\nContent-Type: image/png'
    parts.append(f"--{BOUNDARY}\r\nContent-Disposition: form-data; {named}\r\n\r\n".encode())
    body = b"".join([*parts, visit.picture, f"\r\n--{BOUNDARY}--\r\n".encode()])
    head = (
        "POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"X-API-Key: {key}\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    )
    return head.encode() + body
