"""A real run: a bear classifier made of web photos meets what it was not trained on.

Trains EfficientNet-Lite0 on 208 photos, imports it with 125 held-out ones, and sends 83 photos it
has never seen, followed by photos of other things or by sketches, through the gateway. Each
scenario begins with detectors that know nothing but the reference. ``--quick`` trains for one
epoch and sends fewer images.

The photos are not part of the project: without them (``FIELDWATCH_DATA``, else ``../shared/data``)
the benchmark says so and ends.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.report import Bar, Row, at_most, finish
from monitor.demo.installation import Installation, prepare_home, run_python
from monitor.domain import Alarm
from monitor.services.register import register
from monitor.store.bootstrap import ensure_admin_key
from monitor.store.engine import connect
from monitor.store.migration import migrate
from monitor.store.settings import ProcessSettings, load_settings
from reference_data.bundle import Bundle, load

MODEL = "bears"
TRAIN, HELD_OUT = 208, 125
RATE = 20.0
ACTOR = "benchmark"
say = Console(stderr=True).print


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is sent after the bears."""

    title: str
    images: Path


def main() -> None:
    """Train, import, and play every scenario."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one epoch, fewer images")
    parser.add_argument("--json", type=Path, help="where to write the result")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    data = Path(os.environ.get("FIELDWATCH_DATA", "../shared/data"))
    if not (data / "bears").is_dir():
        sys.exit(f"{data / 'bears'} is not there; set FIELDWATCH_DATA to a folder that has it")
    say("This takes about two minutes." if options.quick else "This takes about seven minutes.")
    with tempfile.TemporaryDirectory(prefix="bears-") as folder:
        work, rng = Path(folder), np.random.default_rng(options.seed)
        count = 60 if options.quick else 200
        field = _divide(data / "bears", work, rng)
        scenarios = [
            Scenario(
                title="ImageNet photos",
                images=_sample(data / "imagenet_sample", work / "imagenet", count, rng),
            ),
            Scenario(
                title="PACS sketches",
                images=_sample(data / "pacs" / "sketch", work / "sketches", count, rng),
            ),
        ]
        bundle = _train_and_import(work, epochs=1 if options.quick else 3, seed=options.seed)
        rows: list[Row] = []
        bars: list[Bar] = []
        for scenario in scenarios:
            rows += _play(scenario, field, bundle, work, bars)
    finish("Bears in the field", rows, bars, options.json)


def _divide(source: Path, work: Path, rng: np.random.Generator) -> Path:
    """Copy each photo into exactly one of training, held-out and field; return the field."""
    photos = sorted(source.glob("*/*.jpg"))
    shuffled = [photos[place] for place in rng.permutation(len(photos))]
    for place, photo in enumerate(shuffled):
        label = photo.parent.name
        if place < TRAIN + HELD_OUT:
            part = "train" if place < TRAIN else "valid"
            folder, name = work / "data" / part / label, photo.name
        else:
            folder, name = work / "field", f"{place:04d}-{label}.jpg"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo, folder / name)
    return work / "field"


def _sample(source: Path, folder: Path, count: int, rng: np.random.Generator) -> Path:
    folder.mkdir()
    images = sorted(path for path in source.rglob("*") if path.suffix.lower() in {".jpg", ".png"})
    for place, chosen in enumerate(rng.permutation(len(images))[:count]):
        image = images[chosen]
        shutil.copyfile(image, folder / f"{place:04d}{image.suffix}")
    return folder


def _train_and_import(work: Path, *, epochs: int, seed: int) -> Bundle:
    code = Path(__file__).with_name("bears_learner.py")
    learner, config = work / "bears.pkl", prepare_home(work / "home")
    say(f"Fine-tuning EfficientNet-Lite0, {epochs} epoch(s)")
    trained = run_python(
        [str(code), str(work / "data"), str(learner), "--epochs", str(epochs), "--seed", str(seed)],
        what="training",
        quiet=True,
    )
    say(f"Accuracy on the held-out photos: {float(trained.split()[-1]):.1%}")
    data = ["--data", str(work / "data"), "--name", MODEL, "--config", str(config)]
    trust = ["--trust-pickle", "--code", str(code), "--seed", str(seed)]
    run_python(["-m", "monitor.cli", "import", str(learner), *data, *trust], what="the import")
    store = load_settings(ProcessSettings, config).store
    return load(next((store.bundles / MODEL).iterdir()))


def _play(
    scenario: Scenario, field: Path, bundle: Bundle, work: Path, bars: list[Bar]
) -> list[Row]:
    """Send the field's bears, then the scenario's images, to a fresh installation."""
    config = prepare_home(work / "homes" / scenario.images.name)
    store = load_settings(ProcessSettings, config).store
    engine = connect(store)
    migrate(engine)
    now = datetime.now(UTC)
    ensure_admin_key(engine, store.home, now)
    register(engine, bundle, serve=True, actor=ACTOR, now=now)
    engine.dispose()
    with Installation(config, say, model=MODEL) as installation:
        bears, known = _send(installation, "bears of the field", field, [], bundle)
        others, _ = _send(installation, scenario.title, scenario.images, known, bundle)
    false_alarms = 0 if bears["alarms (delay in events)"] == "none" else 1
    bars.append(at_most(f"alarms on bears before {scenario.title}", false_alarms, 0))
    return [bears, others]


def _send(
    installation: Installation, title: str, images: Path, known: Sequence[str], bundle: Bundle
) -> tuple[Row, list[str]]:
    say(f"Sending {title}")
    begun = time.perf_counter()
    answers = installation.send(images, rate=RATE, on_answer=lambda: None)
    events = installation.digested([a.event_id for a in answers if a.event_id is not None])
    here = {event: place for place, event in enumerate(sorted(set(events) - set(known)), start=1)}
    scored = [answer for answer in answers if answer.outcome == "ok"]
    row: Row = {
        "images": title,
        "sent": len(answers),
        "predicted": len(scored),
        "flagged": f"{np.mean([answer.flagged for answer in scored]):.1%}",
        "expected": f"{bundle.manifest.alpha:.0%}",
        "alarms (delay in events)": _delays(installation.alarms(), here),
        "seconds": round(time.perf_counter() - begun, 1),
    }
    return row, events


def _delays(alarms: Sequence[Alarm], here: dict[str, int]) -> str:
    found = []
    for alarm in alarms:
        places = [here[c.event_id] for c in alarm.evidence.crossings if c.event_id in here]
        if places:
            found.append((min(places), alarm.kind.value))
    return ", ".join(f"{kind} ({delay})" for delay, kind in sorted(found)) or "none"


if __name__ == "__main__":
    main()
