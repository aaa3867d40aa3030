"""Three rollouts from beginning to end, through the real processes, with durations in seconds.

A model that reads digits on wagons is to throw the switches of a yard. Crews decide as ever, with
3 % errors; two people approve; what happens otherwise, happens by itself:

1. *corrupted camera*: shadow, limited, a growing share of cameras; then a camera that slipped from
   its mount arrives among those the model acts for, and the rollout rolls back;
2. *healthy*: the same, and the model reaches full and is completed;
3. *monitor killed*: with ``kill -9`` in the middle. Nothing advances by itself; after the restart
   it goes on where it was.

Pictures are drawn from `benchmarks.population`; the same seed gives the same ones in one order.
What happens, and in which order, is the same in every run; seconds and counts depend on the machine
and on the salt that a rollout draws.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.population import fit_population
from benchmarks.report import Bar, Row, at_least, at_most, finish
from benchmarks.story_field import Field
from benchmarks.story_people import People
from benchmarks.story_processes import Yard, prepare_bundle
from benchmarks.story_traffic import Traffic
from monitor.rollouts.buckets import bucket_of
from monitor.rollouts.snapshot import BUCKETS

PLAN = Path(__file__).with_name("story_plan.yaml")
STEPS, QUICK_STEPS = "steps: [1, 5, 25, 50]", "steps: [5, 25, 50]"
NAME = "wagons-v1"
SHADOW_RATE, RATE = 25.0, 60.0
"""Pictures a second: in the trial no more than readers can follow."""
BROKEN_EVERY_S = 0.12
BREAKS_AT = "gradual 25 %"
STALENESS_S = 15.0
DEADLINE_S = 900.0
"""Of any single wait; a machine with room needs a twentieth."""
LOOK_EVERY_S = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a timeline."""

    story: str
    s: float
    where: str
    what: str
    who: str
    why: str
    answered: int
    by_model: int
    actions: int
    wrong: int


class StoryFailed(Exception):
    """A story that did not go on."""


class Story:
    """One story under way."""

    def __init__(self, name: str, yard: Yard, field: Field, traffic: Traffic, people: People):
        self.name = name
        self.yard, self.field, self.traffic, self.people = yard, field, traffic, people
        self.lines: list[Line] = []
        self.report: dict[str, Any] = {}
        self._seen = 0
        self._asked: set[str] = set()

    def now(self) -> float:
        """Seconds since the rollout started, by the clock that dates its events."""
        return self.since_start(datetime.now(UTC))

    def since_start(self, moment: datetime) -> float:
        """Seconds from the start of the rollout to a moment."""
        if not self.report:
            return 0.0
        return _seconds(self.report["events"][0]["at"], moment.isoformat())

    def tell(
        self, what: str, who: str, why: str, *, where: str = "", at: datetime | None = None
    ) -> None:
        """Add a line, and print it: of now, or of a moment past, with what was counted then."""
        counts = self.traffic.tallies if at is None else self.traffic.tallies_at(at)
        line = Line(
            story=self.name,
            s=round(self.since_start(datetime.now(UTC) if at is None else at), 1),
            where=where or self.where,
            what=what,
            who=who,
            why=why,
            answered=counts.answered,
            by_model=counts.by_model,
            actions=counts.actions,
            wrong=counts.wrong,
        )
        self.lines.append(line)
        print(
            f"{line.s:7.1f}  {line.where:22}  {line.what:19} {line.who:11} "
            f"{line.answered:6} {line.actions:6} {line.wrong:5}  {line.why[:110]}",
            flush=True,
        )

    @property
    def where(self) -> str:
        """Where the rollout stands, for people."""
        where: str = self.report["line"]["where"] if self.report else "–"
        return where

    @property
    def step(self) -> str:
        """The step it stands at, such as ``gradual 25 %``."""
        step: str = self.report["steps"][self.report["position"]]
        return step

    def look(self) -> None:
        """Read what happened since the last look."""
        self.report = self.people.report()
        if self.report["line"]["stage"] != "shadow":
            self.traffic.rate = RATE
        events = self.report["events"]
        if len(events) == self._seen:
            return
        played = self.people.ask("anna", "GET", f"/v1/rollouts/{NAME}/replay")["played"]
        where = {each["sequence"]: each["where"] for each in played}
        for event in events[self._seen :]:
            self.tell(
                event["type"].replace("_", " "),
                event["actor"],
                event["reason"],
                where=where.get(event["sequence"], ""),
                at=datetime.fromisoformat(event["at"]),
            )
        self._seen = len(events)

    def wait(self, what: str, until: Callable[[], bool], *, approve: bool = True) -> None:
        """Look, and let people approve, until something is so."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            self.look()
            if until():
                return
            if self.report["line"]["ended"] is not None:
                raise StoryFailed(f"{self.name}: it ended before {what}: {self.lines[-1].why}")
            if approve:
                self._approve()
            if time.monotonic() > deadline:
                raise StoryFailed(
                    f"{self.name}: no {what} within {DEADLINE_S:.0f} s; it stands at {self.where} "
                    f"and waits for {'; '.join(self.report['waits_for'])}"
                )
            time.sleep(LOOK_EVERY_S)

    def _approve(self) -> None:
        """Let two people say yes with keys of their own: ben over the API, cleo by command."""
        awaiting = self.report["line"]["awaiting"]
        if awaiting is None or awaiting["evidence_hash"] in self._asked:
            return
        self._asked.add(awaiting["evidence_hash"])
        evidence, reason = awaiting["evidence_hash"], f"looked at the dossier: {awaiting['step']}"
        by_api = self.step != "gradual 1 %" or awaiting["needed"] > 1
        if by_api:
            self.people.approve("ben", evidence, reason)
        if awaiting["needed"] > 1 or not by_api:
            words = ("rollout", "approve", NAME, "--evidence", evidence, "--reason", reason)
            self.yard.command(*words, key=self.people.keys["cleo"])


def corrupted_camera(story: Story) -> list[Bar]:
    """Let a broken camera in at 25 %, and see what happens by itself."""
    story.wait(f"step {BREAKS_AT}", lambda: story.step == BREAKS_AT)
    settled = story.traffic.tallies.answered + 3 * RATE
    story.wait("traffic of that step", lambda: story.traffic.tallies.answered >= settled)
    camera = exposed_camera(story.report["salt"], percent=1)
    before = story.traffic.tallies
    wrong_before, acted_before = before.wrong, before.actions
    story.traffic.add_camera(story.field.broken(camera), BROKEN_EVERY_S)
    why = "it slipped from its mount, and its trigger is stuck; the model acts for it"
    story.tell("a camera breaks", camera, why)
    arrived = story.now()
    # Nobody approves, holds or rolls back from here on.
    story.wait("rollback", lambda: story.report["line"]["ended"] is not None, approve=False)
    end = story.report["events"][-1]
    rolled_back = _seconds(story.report["events"][0]["at"], end["at"])
    since = datetime.fromisoformat(end["at"])
    last_action = _until_humans_act(story, since)
    counts = story.traffic.tallies
    broken = counts.broken
    story.tell(
        "humans act again",
        "gateway",
        f"{broken['answered']} pictures of the broken camera led to {broken['actions']} actions, "
        f"{broken['wrong']} of them wrong; {broken['wrong_flagged']} of those were flagged: "
        "the guard, which this plan switches off, would have left them to people",
    )
    took = rolled_back - arrived
    story.tell(
        "until the rollback",
        "",
        f"{took:.1f} s; {counts.wrong - wrong_before} wrong of {counts.actions - acted_before} "
        f"actions meanwhile; the last one {last_action:.1f} s after it",
    )
    return [
        at_least(
            "corrupted camera: rolled back by itself", float(_ended(story) == "rolled_back"), 1
        ),
        at_least(
            "corrupted camera: decided by the machine", float(end["actor"] == "fieldwatch"), 1
        ),
        at_most("corrupted camera: seconds from its first picture to the rollback", took, 60),
        at_most("corrupted camera: wrong actions it led to", broken["wrong"], 100),
        at_most("corrupted camera: seconds from the rollback to the last action", last_action, 2),
    ]


def healthy(story: Story) -> list[Bar]:
    """Go on to the end."""
    story.wait("full", lambda: story.report["line"]["stage"] == "full")
    full = story.now()
    story.wait("completion", lambda: story.report["line"]["ended"] is not None)
    return [
        at_least("healthy: reached full", 1, 1),
        at_most("healthy: seconds to full", full, DEADLINE_S),
        at_least("healthy: completed", float(_ended(story) == "completed"), 1),
    ]


def monitor_killed(story: Story) -> list[Bar]:
    """Kill the monitor when the model has begun to act for a share of the cameras."""
    story.wait("a gradual step", lambda: story.report["line"]["stage"] == "gradual")
    step, events, epochs = story.step, len(story.report["events"]), story.report["epochs"]
    story.yard.kill_monitor()
    killed = time.monotonic()
    story.tell("kill -9", "chance", "the monitor is gone; the gateway goes on")
    counts = story.traffic.tallies
    before = counts.answered
    deadline = time.monotonic() + DEADLINE_S
    while counts.answered < before + 2 * RATE or time.monotonic() - killed < STALENESS_S + 5:
        if time.monotonic() > deadline:
            raise StoryFailed("the gateway answers no more without a monitor")
        time.sleep(LOOK_EVERY_S)
    by_model = _by_model_since(story, killed + STALENESS_S + 2)
    story.report = story.yard.command("rollout", "show", NAME)
    still = (story.step, len(story.report["events"]), story.report["epochs"])
    story.tell(
        "nothing advances",
        "",
        f"{time.monotonic() - killed:.0f} s without a monitor, {counts.answered - before} pictures "
        f"answered; the model has acted on {by_model} since the plan is older than its limit",
    )
    story.yard.restart_monitor()
    story.tell("monitor restarted", "supervisor", "it reads state and record, and goes on")
    story.wait("next step", lambda: story.step != step)
    return [
        at_least("monitor killed: nothing advanced", float(still == (step, events, epochs)), 1),
        at_most("monitor killed: actions after max_staleness", by_model, 0),
        at_least("monitor killed: went on after the restart", 1, 1),
    ]


STORIES: dict[str, Callable[[Story], list[Bar]]] = {
    "corrupted camera": corrupted_camera,
    "healthy": healthy,
    "monitor killed": monitor_killed,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A story that was told."""

    lines: list[Line]
    row: Row
    bars: list[Bar]


def tell_story(name: str, folder: Path, bundle: Path, *, seed: int, quick: bool) -> Told:
    """Start an installation and play a story in it.

    Raises
    ------
    StoryFailed
        It did not go on.
    """
    print(f"\n{name}\n{_HEAD}", flush=True)
    place = folder / name.replace(" ", "-")
    field = Field(fit_population(), seed)
    with Yard(place, bundle) as yard:
        key = yard.make_key("cameras", "service")
        plan = place / "plan.yaml"
        plan.write_text(PLAN.read_text().replace(STEPS, QUICK_STEPS if quick else STEPS))
        traffic = Traffic(yard.addresses.gateway.port, key, field.healthy(), SHADOW_RATE)
        with People(yard, field, traffic, NAME) as people:
            words = ("rollout", "start", str(plan), "--reason", "the trial of the first version")
            yard.command(*words, key=people.keys["anna"])
            story = Story(name, yard, field, traffic, people)
            with traffic:
                bars = STORIES[name](story)
        books, row = _books(story)
    return Told(lines=story.lines, row=row, bars=[*bars, *books])


def _books(story: Story) -> tuple[list[Bar], Row]:
    """Compare what was answered with what is in the record, and play the log again."""
    answered = {passage.event_id for passage in story.traffic.passages}
    deadline = time.monotonic() + 60
    while True:
        recorded = story.yard.recorded()
        missing = len(answered - set(recorded))
        if not missing or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    replay = story.yard.command("rollout", "show", NAME, "--replay")
    did = story.people.did
    story.tell(
        "the books",
        "",
        f"{len(answered)} answered, {len(recorded)} recorded, {missing} lost, "
        f"{len(recorded) - len(set(recorded))} twice, {story.traffic.tallies.failed} failed; "
        f"{did['decisions']} decisions, {did['second_reading']} second readings, "
        f"{did['adjudication']} adjudications; {len(replay['played'])} transitions played again",
    )
    name, counts = story.name, story.traffic.tallies
    row: Row = {
        "story": name,
        "ended": _ended(story) or story.where,
        "s": story.lines[-1].s,
        "answered": len(answered),
        "recorded": len(recorded),
        "lost": missing,
        "decisions": did["decisions"],
        "actions": counts.actions,
        "wrong": counts.wrong,
        "of a broken camera": counts.broken["wrong"],
    }
    bars = [
        at_most(f"{name}: answered and not recorded", missing, 0),
        at_most(f"{name}: recorded twice", len(recorded) - len(set(recorded)), 0),
        at_least(f"{name}: log replayed without difference", float(not replay["difference"]), 1),
    ]
    return bars, row


def exposed_camera(salt: str, *, percent: float) -> str:
    """Name a new camera that is among the first the model acts for: the worst place to break."""
    numbers = (f"cam-new-{number}" for number in range(100_000))
    return next(each for each in numbers if bucket_of(salt, each) < percent / 100 * BUCKETS)


def _until_humans_act(story: Story, since: datetime) -> float:
    """Wait for a round of pictures without an action; give the last action's seconds after."""
    last, place, quiet = 0.0, 0, 0
    deadline = time.monotonic() + DEADLINE_S
    while quiet < RATE:
        passages = story.traffic.passages
        for passage in passages[place:]:
            if passage.action is None:
                quiet += passage.sent_at > since
            elif passage.answered_at > since:
                last, quiet = (passage.answered_at - since).total_seconds(), 0
        place = len(passages)
        if time.monotonic() > deadline:
            raise StoryFailed("the model goes on acting after the rollback")
        time.sleep(LOOK_EVERY_S)
    return last


def _by_model_since(story: Story, moment: float) -> int:
    """Count actions after a moment of this process's clock."""
    now, clock = time.monotonic(), datetime.now().astimezone()
    return sum(
        passage.action is not None
        for passage in story.traffic.passages
        if now - (clock - passage.sent_at).total_seconds() > moment
    )


def _ended(story: Story) -> str:
    ended = story.report["line"]["ended"]
    return "" if ended is None else str(ended["end"])


def _seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


_HEAD = (
    f"{'s':>7}  {'where':22}  {'what':19} {'who':11} {'answered':>6} {'acted':>6} {'wrong':>5}  why"
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and tell the stories."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="without the step at 1 %%")
    parser.add_argument("--story", choices=STORIES, action="append", help="only this one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--home", type=Path, help="kept there; else a folder that is removed")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    about = "a minute a story" if options.quick else "four minutes a story"
    print(f"About {about} on two cores that nobody else uses.", flush=True)
    with _folder(options.home) as folder:
        bundle = prepare_bundle(folder, fit_population(), options.seed)
        told = [
            tell_story(name, folder, bundle, seed=options.seed, quick=options.quick)
            for name in options.story or STORIES
        ]
    bars = [bar for each in told for bar in each.bars]
    finish(f"rollout stories, seed {options.seed}", [each.row for each in told], bars, options.json)
    if options.json is not None:
        document = json.loads(options.json.read_text())
        document["timeline"] = [asdict(line) for each in told for line in each.lines]
        options.json.write_text(json.dumps(document, indent=2) + "\n")


@contextmanager
def _folder(home: Path | None) -> Iterator[Path]:
    if home is not None:
        home.mkdir(parents=True, exist_ok=True)
        yield home.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="fieldwatch-story-") as folder:
        yield Path(folder)


if __name__ == "__main__":
    main()
