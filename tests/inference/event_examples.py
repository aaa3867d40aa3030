"""Records to write down, and a sink that survives its process."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from uuid6 import uuid7

from monitor.domain import Actor, Reason, Stage, Status
from monitor.store.event import Event

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def example_event(event_id: str | None = None, *, embedding: int = 64) -> Event:
    """Return a record as the gateway makes it; `embedding` is the number of features."""
    identifier = event_id or str(uuid7())
    return Event(
        event_id=identifier,
        writer="",
        seq=0,
        at=NOW,
        model="digits",
        version="1",
        bundle_sha="ab" * 32,
        unit="cam-01",
        episode_id=identifier,
        status=Status.OK,
        prediction="3",
        confidence=0.9,
        probabilities=[0.1, 0.9],
        p_semantic=0.5,
        p_domain=0.25,
        p_value=0.5,
        flagged=False,
        properties={"brightness": 0.5},
        embedding=b"\x00\x3c" * embedding,
        stage=Stage.OBSERVE,
        actor=Actor.HUMAN,
        reason=Reason.NO_PLAN,
        latency_ms=3.5,
    )


class FolderSink:
    """Keeps each batch as a file that appears in one step: durable and idempotent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def append(self, events: pa.Table, *, writer: str, last_seq: int) -> bool:
        if last_seq <= self.durable_seq(writer):
            return False
        temporary = self.folder / "batch.new"
        temporary.write_text(json.dumps(events.select(["event_id", "seq"]).to_pylist()))
        temporary.replace(self.folder / f"{writer}@{last_seq:012d}.json")
        return True

    def durable_seq(self, writer: str) -> int:
        batches = self.folder.glob(f"{writer}@*.json")
        return max((int(path.stem.rpartition("@")[2]) for path in batches), default=0)

    def event_ids(self) -> list[str]:
        """Return what arrived, in the order of its seq."""
        return [row["event_id"] for row in self._rows()]

    def seqs(self) -> list[int]:
        """Return the seq of what arrived, in the order it arrived."""
        return [row["seq"] for row in self._rows()]

    def _rows(self) -> list[dict[str, Any]]:
        batches = sorted(self.folder.glob("*.json"))
        return [row for path in batches for row in json.loads(path.read_text())]


class DeadSink:
    """A store that is away."""

    def append(self, events: pa.Table, *, writer: str, last_seq: int) -> bool:
        raise ConnectionError("no route to the store")

    def durable_seq(self, writer: str) -> int:
        raise ConnectionError("no route to the store")
