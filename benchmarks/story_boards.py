"""A few minutes of everything the dashboards show, in a real Prometheus.

One installation: healthy traffic, a rollout through its gates, a camera that breaks among those the
model acts for, the rollback, and the alarm that stands afterwards; then the camera is mended, and
another attempt begins. Now and then somebody sends what is no picture, and a key that is none.
Prometheus scrapes it with the rules that are shipped, and keeps what it saw. The dashboards are
then drawn from that (`make pictures`), or the Prometheus is left running to look around in.

    python -m benchmarks.story_boards --home /tmp/boards            # plays, unless it was played
    python -m benchmarks.story_boards --home /tmp/boards -- COMMAND # and runs COMMAND beside it

COMMAND finds `PROMETHEUS`, the address, `SCRAPE`, the seconds between two scrapes, and the moments
`FROM` (the beginning), `TO` (the alarm stands) and `TO_rollout` (the next attempt runs), in seconds
since 1970, in its environment: what ``dashboards/draw/draw.mjs`` wants.
"""

import argparse
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.population import fit_population
from benchmarks.story_field import Field
from benchmarks.story_model import MODEL
from benchmarks.story_people import People
from benchmarks.story_processes import SETTINGS, Yard, free_ports, prepare_bundle
from benchmarks.story_rollout import NAME, PLAN, QUICK_STEPS, STEPS, Story, corrupted_camera
from benchmarks.story_traffic import Traffic

RULES = Path(__file__).parents[1] / "dashboards" / "prometheus" / "rules"
RATE = 25.0
OBSERVED_S, STEP_S, AFTERWARDS_S, RETRIED_S = 60, 20, 60, 75
SCRAPE_S = 2
MOMENTS = "moments.json"
_SCRAPES = """\
global: {{scrape_interval: {every}s, scrape_timeout: {every}s, evaluation_interval: {every}s}}
rule_files: ["{rules}/*.yml"]
scrape_configs:
  - job_name: fieldwatch-gateway
    authorization: {{credentials: {key}}}
    static_configs: [{{targets: ["127.0.0.1:{gateway}"], labels: {{instance: "gateway-1"}}}}]
  - job_name: fieldwatch-monitor
    authorization: {{credentials: {key}}}
    static_configs: [{{targets: ["127.0.0.1:{monitor}"], labels: {{instance: "monitor-1"}}}}]
"""


def settings() -> str:
    """Make the periods of the story's installation those of a chart of some minutes."""
    return (
        SETTINGS.replace("accuracy_every_s = 600", "accuracy_every_s = 15")
        .replace("windows_every_s = 20.0", "windows_every_s = 5.0")
        .replace("window_s = 60", "window_s = 30\nallowed_lateness_s = 5")
        + 'detectors = {{ clock = "episodes", false_alarm_episodes = 100000, resolve_after = 2000, '
        'segments = ["site"] }}\n'
    )


def scrapes(*, gateway: int, monitor: int, key: str) -> str:
    """Configure Prometheus for the processes at these ports, with the rules that are shipped."""
    return _SCRAPES.format(every=SCRAPE_S, rules=RULES, key=key, gateway=gateway, monitor=monitor)


@contextmanager
def prometheus(home: Path, configuration: str) -> Iterator[str]:
    """Run Prometheus on the series kept under `home`; give its address."""
    file = home / "prometheus.yml"
    file.write_text(configuration)
    (port,) = free_ports(1)
    arguments = [
        "prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={home / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
        "--log.level=error",
    ]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(arguments) as process:
        try:
            _wait_for(url)
            yield url
        finally:
            process.terminate()


def play(home: Path, seed: int) -> None:
    """Play the story, and note when it began and ended."""
    bundle = prepare_bundle(home, fit_population(), seed)
    field = Field(fit_population(), seed)
    with Yard(home / "yard", bundle, settings()) as yard:
        configuration = scrapes(
            gateway=yard.addresses.gateway.port,
            monitor=yard.addresses.monitor.port,
            key=yard.make_key("prometheus", "viewer"),
        )
        traffic = Traffic(
            yard.addresses.gateway.port, yard.make_key("cameras", "service"), field.healthy(), RATE
        )
        with (
            prometheus(home, configuration),
            traffic,
            _mistakes(yard),
            People(yard, field, traffic, NAME) as people,
        ):
            moments = {"FROM": time.time()}
            time.sleep(OBSERVED_S)
            _start(home, yard, people)
            corrupted_camera(Story("boards", yard, field, traffic, people))
            time.sleep(AFTERWARDS_S)
            moments["TO"] = time.time()
            traffic.remove_camera()
            words = ("rollout", "retry", NAME, "--reason", "the camera is mended")
            yard.command(*words, key=people.keys["anna"])
            time.sleep(RETRIED_S)
            moments["TO_rollout"] = time.time()
    (home / MOMENTS).write_text(json.dumps(moments))


def _start(home: Path, yard: Yard, people: People) -> None:
    plan = home / "plan.yaml"
    slower = f"min_duration: {STEP_S}s"
    plan.write_text(
        PLAN.read_text().replace(STEPS, QUICK_STEPS).replace("min_duration: 3s", slower)
    )
    words = ("rollout", "start", str(plan), "--reason", "the trial of the first version")
    yard.command(*words, key=people.keys["anna"])
    # After the start: the plan says how far apart episodes are, and a certificate is for that.
    yard.command("drill", MODEL)


@contextmanager
def _mistakes(yard: Yard) -> Iterator[None]:
    """Send, every second, what is no picture, and a key that is none."""
    leaving = threading.Event()
    url, key = f"{yard.addresses.gateway.url}/predict", yard.make_key("a script", "service")

    def send() -> None:
        with httpx.Client(timeout=10) as client:
            while not leaving.wait(1):
                file = {"file": ("note.txt", b"not a picture")}
                client.post(url, headers={"X-API-Key": key}, files=file)
                client.post(url, headers={"X-API-Key": "mistyped"}, files=file)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        leaving.set()
        thread.join(30)


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/-/ready").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"Prometheus at {url} is not ready after a minute")


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, play the story once, and run the command beside its Prometheus."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, required=True, help="kept; played again when removed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("command", nargs="*")
    options = parser.parse_args(arguments)
    home = options.home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    if not (home / MOMENTS).exists():
        print("About six minutes on two cores that nobody else uses.", flush=True)
        play(home, options.seed)
    moments = json.loads((home / MOMENTS).read_text())
    with prometheus(home, "scrape_configs: []\n") as url:
        seen = {"PROMETHEUS": url, "SCRAPE": str(SCRAPE_S)} | {
            name: str(at) for name, at in moments.items()
        }
        if options.command:
            return subprocess.run(options.command, env=os.environ | seen, check=False).returncode
        print(f"{url} holds the story; interrupt to end it. {seen}", flush=True)
        threading.Event().wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
