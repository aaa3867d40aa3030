"""`fieldwatch demo`: the whole story, on real handwritten digits."""

import functools
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from monitor.commands.screen import console, notes, print_json, table
from monitor.demo.digits import FieldImages, write_images
from monitor.demo.installation import (
    FALSE_ALARM_EPISODES,
    MODEL,
    Installation,
    prepare_home,
    run_python,
)
from monitor.demo.story import AlarmSeen, PhaseSeen, PhaseVerdict, Promise, judge
from monitor.domain import AlarmState, Severity
from monitor.services.client_key import VARIABLE

DEFAULT_HOME = Path(".fieldwatch-demo")
RATE = 40.0
"""Images a second: a few hundred events in seconds, and slow enough to watch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """How the whole demo ended."""

    seed: int
    phases: Sequence[PhaseVerdict]
    answered: int
    recorded: int
    """Events in the record; every answered image is among them exactly once."""
    came_true: bool
    wall_s: float


def run(*, check: bool, seed: int, home: Path | None, as_json: bool) -> int:
    """Play the story; exit 1 if it did not come true."""
    started = time.perf_counter()
    say = notes.print
    config = prepare_home((home or DEFAULT_HOME).absolute())
    images = _prepare_model(config, seed)
    say("\n[bold]4[/] Starting the gateway and the monitor")
    with Installation(config, lambda text: say(f"[yellow]{text}[/]")) as installation:
        say(
            f"  one false alarm in {FALSE_ALARM_EPISODES:,} images is allowed, "
            "shared by six detectors"
        )
        story = _play(installation, images, seed, started)
        if as_json:
            print_json(story)
        else:
            _show(story)
        if not check:
            _stay_up(installation)
        elif home is not None and not as_json:
            console.print(f"Kept: `fieldwatch status --config {config}` and so on look at it.")
    return 0 if story.came_true else 1


def _prepare_model(config: Path, seed: int) -> FieldImages:
    """Do what the owner of a model does: gather images, train, export, import."""
    say, folder = notes.print, config.parent
    say("[bold]1[/] Writing scikit-learn's handwritten digits as images")
    images = write_images(folder, seed=seed)
    say("[bold]2[/] Training a fastai Learner on the digits 0 to 7 (under a minute)")
    learner = folder / "learner.pkl"
    module = "reference_data.importing.digits_learner"
    with notes.status("training"):
        accuracy = run_python(
            ["-m", module, str(folder / "data"), str(learner), "--seed", str(seed)],
            what="training",
            quiet=True,
        )
    say(f"  accuracy on the held-out digits: {float(accuracy.split()[-1]):.1%}")
    command = ["import", str(learner), "--data", str(folder / "data"), "--name", MODEL]
    options = ["--trust-pickle", "--seed", str(seed), "--config", str(config)]
    say(f"[bold]3[/] fieldwatch {' '.join(_shorten(word) for word in [*command, options[0]])}")
    run_python(["-m", "monitor.cli", *command, *options], what="the import")
    return images


def _shorten(word: str) -> str:
    path = Path(word)
    return path.name if path.is_absolute() else word


def _play(installation: Installation, images: FieldImages, seed: int, started: float) -> Story:
    alpha = installation.flag_rate()
    phases = (
        ("clean digits", images.clean, Promise.SILENCE),
        ("with eights and nines", images.novel, Promise.NOVELTY),
        ("clean again", images.after, Promise.RESOLUTION),
        ("degraded scanner", images.degraded, Promise.DOMAIN_DRIFT),
    )
    verdicts: list[PhaseVerdict] = []
    known: set[str] = set()
    answered = 0
    columns = (TextColumn("  {task.description:24}"), BarColumn(), MofNCompleteColumn())
    notes.print("\n[bold]5[/] Sending images nobody has used before")
    with Progress(*columns, console=notes) as progress:
        for title, folder, promise in phases:
            begun = time.perf_counter()
            task = progress.add_task(title, total=len(list(folder.iterdir())))
            answers = installation.send(
                folder, rate=RATE, on_answer=functools.partial(progress.advance, task)
            )
            ids = [answer.event_id for answer in answers if answer.event_id is not None]
            answered += len(ids)
            events = [event for event in installation.digested(ids) if event not in known]
            known.update(events)
            seen = PhaseSeen(
                title=title,
                promise=promise,
                events=events,
                flagged=sum(answer.flagged for answer in answers),
                alpha=alpha,
                alarms=_alarms(installation),
                wall_s=time.perf_counter() - begun,
            )
            verdicts.append(judge(seen))
    return Story(
        seed=seed,
        phases=verdicts,
        answered=answered,
        recorded=len(known),
        came_true=all(verdict.came_true for verdict in verdicts),
        wall_s=time.perf_counter() - started,
    )


def _alarms(installation: Installation) -> list[AlarmSeen]:
    return [
        AlarmSeen(
            kind=alarm.kind,
            severity=alarm.severity,
            crossings=[crossing.event_id for crossing in alarm.evidence.crossings],
            is_open=alarm.state is AlarmState.OPEN,
        )
        for alarm in installation.alarms()
    ]


def _show(story: Story) -> None:
    columns = (
        "phase",
        "events>",
        "flagged>",
        "expected>",
        "promised",
        "alarms",
        "delay>",
        "s>",
        "",
    )
    rows = [
        (
            phase.title,
            phase.events,
            phase.flagged,
            f"{phase.expected_flagged:.1f}",
            phase.promise,
            ", ".join(f"{kind} ({delay})" for kind, delay in phase.crossed.items()) or "none",
            phase.delay,
            f"{phase.wall_s:.1f}",
            "came true" if phase.came_true else f"NOT TRUE: {phase.why}",
        )
        for phase in story.phases
    ]
    console.print()
    console.print(table(None, columns, rows))
    console.print(
        "expected: flags among healthy inputs; alarms: every detector that crossed, with its "
        "delay in events"
    )
    console.print(
        f"{story.answered} images answered, all of them in the record, each once; "
        f"seed {story.seed}, {story.wall_s:.0f} s in all"
    )


def _stay_up(installation: Installation) -> None:
    """Leave everything running for the user to look at, until Ctrl-C."""
    urls, config = installation.addresses, installation.config
    console.print(f"\nThe service stays up; its key is in {installation.settings.store.key_file}")
    console.print(f"  gateway  {urls.gateway.url}/docs")
    console.print(f"  monitor  {urls.monitor.url}/docs")
    for alarm in installation.alarms():
        if alarm.severity is Severity.PAGE:
            console.print(f"  {alarm.kind}  {urls.monitor.url}/alarms/{alarm.id}")
    console.print("  (a browser asks for a name and a password: any name, the key)")
    for command in ("status", "alarms list --all", "events --flagged"):
        console.print(f"  fieldwatch {command} --config {config}")
    console.print(
        f"  {VARIABLE} or the key file above lets `fieldwatch send` in. Ctrl-C stops all."
    )
    stop: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: stop.append(number))
    while not stop:
        time.sleep(0.2)
