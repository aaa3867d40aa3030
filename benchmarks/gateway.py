"""The gateway against the endpoints one would write by hand: throughput, latency, memory, start.

Four servers, the same EfficientNet-Lite0 and the same images: the gateway with everything on, with
recording off, a bare FastAPI + ONNX Runtime endpoint, and a FastAPI endpoint that calls
``learn.predict``. They are loaded in turn, round after round, by a client in its own process;
ratios are taken within a round and their median is reported, so that a busy neighbour hits all.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from benchmarks.load_client import Job, Load
from benchmarks.report import Row, at_least, at_most, finish
from monitor.domain import Role, Stage
from monitor.rollouts.snapshot import Snapshot
from monitor.store.bundles import Bundles
from monitor.store.engine import connect
from monitor.store.keys import Keys
from monitor.store.migration import migrate
from monitor.store.routes import Routes
from monitor.store.settings import StoreSettings
from reference_data.bundle import Bundle
from reference_data.importing.import_learner import import_learner
from reference_data.importing.request import ImportRequest

HERE = Path(__file__).parent
CODE = HERE / "bears_learner.py"
OURS, UNRECORDED, BARE, LEARN = (
    "gateway",
    "gateway, unrecorded",
    "bare ONNX Runtime",
    "learn.predict",
)
CONCURRENCIES = (1, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long to measure."""

    rounds: int
    seconds: float
    starts: int
    images: int
    """Images of each of train and valid that the bundle is made from."""


QUICK = Plan(rounds=2, seconds=1.0, starts=1, images=24)
FULL = Plan(rounds=11, seconds=4.0, starts=5, images=120)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What all four servers serve, and what they are sent."""

    home: Path
    learner: Path
    bundle: Bundle
    key: str
    images: list[Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One load on one server."""

    load: Load
    processor_ms: float
    """Processor time the server took per request: what is left when neighbours are busy."""


@dataclass(slots=True, kw_only=True)
class Server:
    """One running server."""

    name: str
    port: int
    path: str
    headers: dict[str, str]
    process: psutil.Process

    def measure(self, images: list[Path], concurrency: int, seconds: float) -> Measured:
        """Load it, and see what processor time it takes."""
        before = _processor_s(self.process)
        load = self.load(images, concurrency, seconds, warm_up=2)
        took = _processor_s(self.process) - before
        return Measured(load=load, processor_ms=took / (load.requests + 2 * concurrency) * 1e3)

    def load(self, images: list[Path], concurrency: int, seconds: float, warm_up: int) -> Load:
        """Load it from a process of its own."""
        job = Job(
            port=self.port,
            path=self.path,
            headers=self.headers,
            files=[str(image) for image in images],
            concurrency=concurrency,
            seconds=seconds,
            warm_up=warm_up,
        )
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.load_client"],
            input=json.dumps(asdict(job)),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the client failed on {self.name}:\n{done.stderr}")
        return Load(**json.loads(done.stdout))


class Quiet:
    """Progress nobody looks at."""

    @contextmanager
    def step(self, name: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """Do nothing."""
        del name, total
        yield lambda _: None


def main() -> None:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="within a minute")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    # Half as long again for starting clients, and the model to prepare.
    minutes = plan.rounds * plan.seconds * len(CONCURRENCIES) * 4 * 1.5 / 60 + 1.5
    print(
        f"{plan.rounds} rounds; this takes about {'1' if options.quick else f'{minutes:.0f}'} min"
    )
    with (
        tempfile.TemporaryDirectory(prefix="fieldwatch-benchmark-") as folder,
        ExitStack() as stack,
    ):
        model = prepare(Path(folder), plan.images)
        starts = [time_start(model, number) for number in range(plan.starts)]
        servers = start_all(model, stack)
        loads = measure(servers, model.images, plan)
        rss = {server.name: _rss_mib(server.process) for server in servers}
    report(loads, rss, statistics.median(starts), options.json)


def measure(
    servers: list[Server], images: list[Path], plan: Plan
) -> dict[tuple[str, int], list[Measured]]:
    """Load every server in turn, once per round and concurrency."""
    loads: dict[tuple[str, int], list[Measured]] = {}
    for server in servers:
        server.load(images, 16, 0.5, warm_up=2)
    for number in range(plan.rounds):
        # Every other round backwards: what follows whom must not favour anyone.
        for server in servers if number % 2 == 0 else reversed(servers):
            for concurrency in CONCURRENCIES:
                measured = server.measure(images, concurrency, plan.seconds)
                loads.setdefault((server.name, concurrency), []).append(measured)
    return loads


def report(
    loads: dict[tuple[str, int], list[Measured]],
    rss: dict[str, float],
    start_s: float,
    destination: Path | None,
) -> None:
    """Print the table and the bars."""

    def ratio(one: str, other: str, concurrency: int) -> float:
        pairs = zip(loads[one, concurrency], loads[other, concurrency], strict=True)
        return statistics.median(a.load.per_second / b.load.per_second for a, b in pairs)

    rows: list[Row] = [
        {
            "server": name,
            "at once": concurrency,
            "requests/s": round(statistics.median(x.load.per_second for x in each), 1),
            "p50 ms": round(statistics.median(x.load.p50_ms for x in each), 2),
            "p99 ms": round(statistics.median(x.load.p99_ms for x in each), 2),
            "errors": sum(x.load.errors for x in each) / sum(x.load.requests for x in each),
            "processor ms": round(statistics.median(x.processor_ms for x in each), 2),
            "RSS MiB": round(rss[name], 0),
        }
        for (name, concurrency), each in loads.items()
    ]
    rows.sort(key=lambda row: (int(str(row["at once"])), list(rss).index(str(row["server"]))))
    added = statistics.median(
        a.load.p50_ms - b.load.p50_ms for a, b in zip(loads[OURS, 1], loads[BARE, 1], strict=True)
    )
    bars = [
        at_least("throughput at 16, over learn.predict", ratio(OURS, LEARN, 16), 5),
        at_least("throughput at 16, over the bare endpoint", ratio(OURS, BARE, 16), 0.9),
        at_most("added p50 at 1 over the bare endpoint, ms", added, 2),
        at_most("cost of recording at 16, %", 100 * (1 - ratio(OURS, UNRECORDED, 16)), 3),
        at_most("RSS, MB", rss[OURS] * 2**20 / 1e6, 400),
        at_most("start to ready, s", start_s, 3),
    ]
    finish("Gateway serving EfficientNet-Lite0 at 224 px", rows, bars, destination)


def prepare(folder: Path, images_each: int) -> Model:
    """Export a Learner, import it as anybody would, register and route it."""
    data, learner, home = folder / "data", folder / "lite.pkl", folder / "home"
    divide(data, images_each)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent)])}
    subprocess.run(
        # How well the head was trained does not change how long it takes.
        [sys.executable, str(CODE), str(data), str(learner), "--epochs", "0"],
        stdout=subprocess.DEVNULL,
        check=True,
        env=environment,
    )
    store = StoreSettings(home=home)
    bundle = import_learner(
        ImportRequest(
            learner=learner,
            data=data,
            name="lite",
            bundles=store.bundles,
            trust_pickle=True,
            code=CODE,
            unconfined=True,
        ),
        Quiet(),
    )
    images = sorted((data / "valid").rglob("*.*"))
    return Model(
        home=home, learner=learner, bundle=bundle, key=register(store, bundle), images=images
    )


def divide(data: Path, images_each: int) -> None:
    """Lay out ``train/`` and ``valid/`` from the bears, or from drawn pictures without them."""
    source = (
        Path(os.environ.get("FIELDWATCH_DATA", HERE.parent.parent / "shared" / "data")) / "bears"
    )
    classes = sorted(path.name for path in source.iterdir()) if source.is_dir() else ["a", "b", "c"]
    for index, name in enumerate(classes):
        files = sorted((source / name).glob("*.jpg")) if source.is_dir() else []
        for number in range(2 * images_each // len(classes)):
            place = data / ("train", "valid")[number % 2] / name
            place.mkdir(parents=True, exist_ok=True)
            if number < len(files):
                shutil.copy(files[number], place)
            else:
                rng = np.random.default_rng([index, number])
                small = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
                small.resize((320, 240)).save(place / f"drawn-{number}.jpg")


def register(store: StoreSettings, bundle: Bundle) -> str:
    """Trust the bundle, route its model to it, and make a key."""
    now = datetime.now(UTC)
    engine = connect(store)
    migrate(engine)
    manifest = bundle.manifest
    with engine.begin() as conn:
        Bundles(conn).register(
            bundle.digest, manifest.name, manifest.version, str(bundle.path), True, "me", now
        )
        snapshot = Snapshot(
            model=manifest.name,
            epoch=0,
            stage=Stage.OBSERVE,
            version=manifest.version,
            bundle_sha=bundle.digest,
            published_at=now,
            published_by="me",
        )
        Routes(conn).publish(snapshot, 0)
        key = Keys(conn).create("benchmark", Role.SERVICE, now)
    engine.dispose()
    return key


def start_all(model: Model, stack: ExitStack) -> list[Server]:
    """Start the four servers and wait until they answer."""
    peers = ["-m", "benchmarks.gateway_peers"]
    key = {"Authorization": f"Bearer {model.key}"}
    ours = stack.enter_context(gateway(model, "ours", recording=True))
    unrecorded = stack.enter_context(gateway(model, "unrecorded", recording=False))
    bare = stack.enter_context(spawned([*peers, "bare", str(model.bundle.path)], "/healthz"))
    learn = stack.enter_context(
        spawned([*peers, "learn", str(model.learner), "--code", str(CODE)], "/healthz")
    )
    return [
        Server(name=OURS, port=ours[0], path="/predict", headers=key, process=ours[1]),
        Server(
            name=UNRECORDED, port=unrecorded[0], path="/predict", headers=key, process=unrecorded[1]
        ),
        Server(name=BARE, port=bare[0], path="/predict", headers={}, process=bare[1]),
        Server(name=LEARN, port=learn[0], path="/predict", headers={}, process=learn[1]),
    ]


@contextmanager
def gateway(model: Model, name: str, *, recording: bool) -> Iterator[tuple[int, psutil.Process]]:
    """Run a gateway of our own."""
    variables = {
        "FIELDWATCH_HOME": str(model.home),
        "FIELDWATCH_GATEWAY__ID": name,
        "FIELDWATCH_GATEWAY__RECORDING": str(recording).lower(),
    }
    with spawned(["-m", "inference"], "/readyz", variables) as running:
        yield running


@contextmanager
def spawned(
    arguments: list[str], health: str, variables: dict[str, str] | None = None
) -> Iterator[tuple[int, psutil.Process]]:
    """Run a server on a free port; yield the port and the process once it is healthy."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    options = [] if variables is not None else ["--port", str(port)]
    environment = {**os.environ, **(variables or {}), "FIELDWATCH_GATEWAY__PORT": str(port)}
    child = subprocess.Popen([sys.executable, *arguments, *options], env=environment)
    try:
        _wait(f"http://127.0.0.1:{port}{health}", child)
        yield port, psutil.Process(child.pid)
    finally:
        child.terminate()
        child.wait()


def time_start(model: Model, number: int) -> float:
    """Measure the seconds from starting the process to ready."""
    begun = time.perf_counter()
    with gateway(model, f"start-{number}", recording=True):
        return time.perf_counter() - begun


def _wait(url: str, child: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise RuntimeError(f"the server for {url} ended with {child.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=2) as reply:
                if reply.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.01)
    raise TimeoutError(f"{url} was not healthy within 120 s")


def _processor_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _rss_mib(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 2**20


if __name__ == "__main__":
    main()
