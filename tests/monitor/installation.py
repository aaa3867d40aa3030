"""A small installation on disk: a real store, a real events table, a handmade bundle."""

import copy
import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from pyarrow import parquet
from pydantic import SecretStr
from sqlalchemy import Engine, event, func
from sqlalchemy.engine.interfaces import DBAPIConnection
from uuid6 import uuid7

from monitor.domain import Actor, Reason, Stage, Status
from monitor.rollouts.snapshot import Incumbent, Snapshot
from monitor.services.context import Context
from monitor.services.references import References
from monitor.settings import DetectorOptions, MonitorOptions, MonitorSettings
from monitor.store.bundles import Bundles
from monitor.store.event import Event, to_arrow
from monitor.store.events import EventLog
from monitor.store.routes import Routes
from monitor.store.schema import bundles
from monitor.store.settings import StoreSettings
from reference_data import held_out
from reference_data.bundle import Bundle, Counts, Manifest, Parity, write
from reference_data.held_out import HeldOut
from reference_data.preprocess import Preprocessing
from reference_data.steps import RequireSize, ToFloat
from tests.templates import bundle_like, migrated

START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
"""Recent, for the windows of the record are judged by the database's own clock."""
VOCAB = ("black", "grizzly", "teddy")
ROWS = 300
DIMENSION = 8
ITEMS = 40


def write_bundle(
    parent: Path,
    *,
    name: str = "bears",
    version: str = "1",
    certified: bool = True,
    more: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Write a bundle whose reference is made up and whose model is nothing; `more` are files."""
    files = dict(more or {})
    key = ("made up", name, version, certified, *sorted(files.items()))

    def make(folder: Path) -> Bundle:
        return _write_bundle(folder, name, version, certified, files)

    return bundle_like(key, make, parent)


def _write_bundle(
    parent: Path, name: str, version: str, certified: bool, more: Mapping[str, bytes]
) -> Bundle:
    rng = np.random.default_rng(11)
    arrays = io.BytesIO()
    np.savez(
        arrays,
        semantic=np.sort(rng.normal(size=ROWS)),
        domain=np.sort(rng.normal(size=ROWS)),
        confidence=np.sort(rng.beta(1, 9, ROWS)) - 1.0,
        class_counts=np.array([100, 100, 100]),
        embeddings=np.eye(ITEMS, DIMENSION, dtype=np.float16) + np.float16(0.01),
        embedding_rows=np.arange(ITEMS),
    )
    items = io.BytesIO()
    parquet.write_table(
        pa.table(
            {
                "path": [f"train/{i:02d}.jpg" for i in range(ITEMS)],
                "label": [VOCAB[i % 3] for i in range(ITEMS)],
            }
        ),
        items,
    )
    manifest = Manifest(
        name=name,
        version=version,
        created_at=START.isoformat(),
        learner_sha256="0" * 64,
        learner_file="bears.pkl",
        vocab=VOCAB,
        preprocessing=Preprocessing(mode="RGB", steps=(RequireSize(width=8, height=8), ToFloat())),
        mid_layer="body.4",
        embedding_dim=DIMENSION,
        mid_dim=4,
        alpha=0.05,
        certified=certified,
        certified_reason="enough rows" if certified else "--split unknown",
        counts=Counts(train=ITEMS, temperature=30, calibrate=ROWS, estimate=30),
        seed=5,
        parity=Parity(
            items=200, max_input_difference=0.0, max_probability_difference=0.0, agreed=200
        ),
        episodes_known=False,
    )
    files: dict[str, bytes | Path] = {
        "model.onnx": b"no model",
        "reference.npz": arrays.getvalue(),
        "reference.parquet": items.getvalue(),
        **more,
    }
    return write(parent, manifest, files)


def _do_not_wait_for_the_disk(connection: DBAPIConnection, _: object) -> None:
    connection.cursor().execute("PRAGMA synchronous = OFF")


def held_out_rows(sites: Sequence[str] = ("north", "south")) -> dict[str, bytes]:
    """Write the held-out rows that belong to `write_bundle`'s calibration, as a file of it."""
    rng = np.random.default_rng(11)
    semantic, domain = np.sort(rng.normal(size=ROWS)), np.sort(rng.normal(size=ROWS))
    held = HeldOut(
        rows=np.arange(ROWS),
        role=np.full(ROWS, "calibrate"),
        labels=np.arange(ROWS) % len(VOCAB),
        logits=np.zeros((ROWS, len(VOCAB)), np.float32),
        embedding=np.zeros((ROWS, DIMENSION), np.float16),
        semantic=semantic,
        domain=rng.permutation(domain),
        properties={
            "brightness": rng.normal(0.5, 0.1, ROWS),
            "width": np.full(ROWS, 640.0),
            "rare": np.where(np.arange(ROWS) < 50, 1.0, np.nan),
        },
        segments={"site": np.array([sites[i % len(sites)] for i in range(ROWS)])},
    )
    return {held_out.FILE: held.to_bytes()}


class Installation:
    """Everything one monitor needs, and a gateway's pen to write events with."""

    def __init__(
        self,
        home: Path,
        options: MonitorOptions | None = None,
        *,
        database_url: SecretStr | None = None,
    ) -> None:
        detectors = DetectorOptions(clock="episodes", false_alarm_episodes=300)
        self.settings = MonitorSettings(
            store=StoreSettings(home=home, database_url=database_url),
            monitor=options or MonitorOptions(detectors=detectors),
        )
        self.engine = migrated(self.settings.store)
        if database_url is None:
            # Nobody cuts the power here, and waiting for the disk is what a commit takes longest.
            event.listen(self.engine, "connect", _do_not_wait_for_the_disk)
        self.seq = 0
        self.clock = START
        self.rng = np.random.default_rng(3)

    def copied(self, home: Path) -> "Installation":
        """Give an installation of its own that is as this one is now, in a folder not there yet."""
        before = self.settings.store.home
        self.engine.dispose()
        shutil.copytree(before, home)
        made = Installation(home, self.settings.monitor)
        made.seq, made.clock, made.rng = self.seq, self.clock, copy.deepcopy(self.rng)
        with made.engine.begin() as conn:
            moved = func.replace(bundles.c.path, str(before), str(home))
            conn.execute(bundles.update().values(path=moved))
        return made

    def serve(
        self,
        *,
        version: str = "1",
        certified: bool = True,
        model: str = "bears",
        more: Mapping[str, bytes] | None = None,
    ) -> Bundle:
        """Register a bundle and route it; `more` are files of it."""
        parent = self.settings.store.bundles / model
        bundle = write_bundle(parent, name=model, version=version, certified=certified, more=more)
        with self.engine.begin() as conn:
            Bundles(conn).register(
                bundle.digest, model, version, str(bundle.path), certified, "test", START
            )
        self.route(bundle)
        return bundle

    def route(self, bundle: Bundle, incumbent: Bundle | None = None) -> None:
        """Route a registered bundle: alone, or in shadow beside an incumbent."""
        manifest = bundle.manifest
        with self.engine.begin() as conn:
            routes = Routes(conn)
            routes.publish(
                Snapshot(
                    model=manifest.name,
                    epoch=0,
                    stage=Stage.OBSERVE if incumbent is None else Stage.SHADOW,
                    version=manifest.version,
                    bundle_sha=bundle.digest,
                    published_at=START,
                    published_by="test",
                    sealed=incumbent is not None,
                    incumbent=None
                    if incumbent is None
                    else Incumbent(version=incumbent.manifest.version, bundle_sha=incumbent.digest),
                ),
                routes.epoch(manifest.name),
            )

    def monitor(
        self,
        *,
        engine: Engine | None = None,
        events: EventLog | None = None,
        owner: str = "m1",
        clock: Callable[[], datetime] | None = None,
    ) -> Context:
        """Start a monitor: what it holds in memory is its own, but for its connections."""
        return Context(
            settings=self.settings,
            engine=engine or self.engine,
            events=events or self.log(),
            references=References(),
            owner=owner,
            clock=clock or (lambda: self.clock),
        )

    def log(self) -> EventLog:
        """Open the events table."""
        return EventLog(self.settings.store.events)

    def event(
        self,
        bundle: Bundle,
        *,
        p_semantic: float | None = None,
        p_domain: float | None = None,
        status: Status = Status.OK,
        episode_id: str | None = None,
        bundle_sha: str | None = None,
        segment: Mapping[str, str] | None = None,
        brightness: float | None = None,
        unit: str | None = None,
    ) -> Event:
        """Make the next event, a second after the last; healthy unless told otherwise."""
        self.seq += 1
        self.clock += timedelta(seconds=1)
        event_id = str(uuid7())
        scored = status is Status.OK
        semantic = float(self.rng.uniform()) if p_semantic is None else p_semantic
        domain = float(self.rng.uniform()) if p_domain is None else p_domain
        embedding = np.zeros(DIMENSION, dtype="<f2")
        embedding[self.seq % DIMENSION] = 1.0
        bright = float(self.rng.normal(0.5, 0.1)) if brightness is None else brightness
        p_value = min(1.0, 2 * min(semantic, domain))
        return Event(
            event_id=event_id,
            writer="gateway-1",
            seq=self.seq,
            at=self.clock,
            model=bundle.manifest.name,
            version=bundle.manifest.version,
            bundle_sha=(bundle_sha or bundle.digest) if scored else None,
            unit=unit,
            episode_id=episode_id or event_id,
            status=status,
            cause=None if scored else "not_an_image",
            prediction=VOCAB[int(self.rng.integers(3))] if scored else None,
            confidence=float(1 - self.rng.beta(1, 9)) if scored else None,
            p_semantic=semantic if scored else None,
            p_domain=domain if scored else None,
            p_value=p_value if scored else None,
            flagged=p_value <= bundle.manifest.alpha if scored else None,
            segment=dict(segment or {}),
            properties={"brightness": bright, "width": 640.0} if scored else {},
            embedding=embedding.tobytes() if scored else None,
            stage=Stage.OBSERVE,
            epoch=1,
            actor=Actor.HUMAN,
            reason=Reason.NO_PLAN,
            latency_ms=3.0,
        )

    def record(self, events: Sequence[Event]) -> list[str]:
        """Append events as a gateway would; return their ids."""
        self.log().append(to_arrow(list(events)), writer="gateway-1", last_seq=events[-1].seq)
        return [event.event_id for event in events]

    def healthy(self, bundle: Bundle, count: int) -> list[str]:
        """Record healthy events."""
        return self.record([self.event(bundle) for _ in range(count)])

    def novel(self, bundle: Bundle, count: int) -> list[str]:
        """Record events the model has never seen the like of."""
        return self.record(
            [self.event(bundle, p_semantic=float(self.rng.uniform(0, 0.01))) for _ in range(count)]
        )

    def dump(self) -> dict[str, list[Any]]:
        """Read what detectors and policy left in the store, without ids and clocks."""
        from monitor.store.alarms import Alarms
        from monitor.store.cursors import Cursors
        from monitor.store.intakes import Intakes
        from monitor.store.schema import outbox, streams

        with self.engine.begin() as conn:
            states = conn.execute(streams.select().order_by(streams.c.stream)).all()
            alarms = Alarms(conn).all()
            return {
                "cursors": sorted(Cursors(conn).load("bears").items()),
                "intakes": sorted(Intakes(conn).all().items()),
                "streams": [
                    (row.stream, msgspec.json.decode(msgspec.json.decode(row.state)["capital"]))
                    for row in states
                ],
                "alarms": [
                    (a.kind, a.state, a.opened_at, a.crossings, a.quiet_episodes, a.resolved_at)
                    for a in alarms
                ],
                "incidents": [len({a.incident_id for a in alarms})],
                "evidence": [msgspec.json.encode(a.evidence) for a in alarms],
                "outbox": sorted(
                    row.key.rpartition("/")[2] for row in conn.execute(outbox.select())
                ),
            }
