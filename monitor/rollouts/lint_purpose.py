"""What a plan says it is for, and with what: objective, levers, unit, traffic, guards."""

import difflib
import re
from collections.abc import Iterable, Iterator

from monitor.rollouts.plan import RolloutPlan
from monitor.rollouts.remark import Remark, error, warning
from monitor.rollouts.surroundings import Surroundings

ANY = "*"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
POLL_S = 3.0
"""A gateway asks for its plan every second; a plan that is stale sooner than that stops it."""

_PER_REQUEST = frozenset(
    """
    request req event trace span correlation call message prediction image img frame photo
    picture file case episode uuid guid random
    """.split()  # noqa: SIM905  one list of words
)
"""Words that name something new with every request."""


def purpose_remarks(plan: RolloutPlan, known: Surroundings) -> Iterator[Remark]:
    """Say what is wrong outside the stages and gates."""
    yield from _names(plan)
    yield from _unit(plan)
    yield from _objective(plan, known)
    yield from _levers(plan, known)
    yield from _traffic(plan)
    yield from _trial(plan)
    yield from _guards(plan)


def _names(plan: RolloutPlan) -> Iterator[Remark]:
    for place, name in (("rollout", plan.name), ("model", plan.model)):
        if not NAME.fullmatch(name):
            yield error(
                place,
                f"cannot be {name[:80]!r}: it becomes part of addresses",
                "Use up to 64 letters, digits, dots, dashes and underscores.",
            )
    if not plan.author.strip():
        yield error("author", "is blank", "Name who wrote the plan; they may not approve it.")


def _unit(plan: RolloutPlan) -> Iterator[Remark]:
    words = re.split(r"[^a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", plan.unit).lower())
    strange = sorted(_PER_REQUEST.intersection(words))
    if strange:
        yield error(
            "unit",
            f"{plan.unit!r} names a {strange[0]}, which is new with every request",
            "Name what comes back and keeps its side: a camera, a site, a user.",
        )


def _objective(plan: RolloutPlan, known: Surroundings) -> Iterator[Remark]:
    if not plan.objective.costs:
        yield warning(
            "objective.costs",
            "no mistake has a price, so each costs 1",
            "Say what a miss costs and what a false action costs.",
        )
    for index, mistake in enumerate(plan.objective.costs):
        place = f"objective.costs[{index}]"
        if mistake.cost < 0:
            yield error(f"{place}.cost", f"is {mistake.cost:g}", "A mistake costs 0 or more.")
        if mistake.truth == mistake.prediction != ANY:
            yield error(place, "prices what is no mistake", "Name two different classes, or `*`.")
        for key, label in (("truth", mistake.truth), ("prediction", mistake.prediction)):
            if label != ANY:
                yield from _label(f"{place}.{key}", label, known)


def _levers(plan: RolloutPlan, known: Surroundings) -> Iterator[Remark]:
    if not plan.levers:
        yield error(
            "levers", "is empty: the model would never act", "Name a prediction and its action."
        )
    seen: set[str] = set()
    for index, lever in enumerate(plan.levers):
        place = f"levers[{index}]"
        yield from _label(f"{place}.prediction", lever.prediction, known)
        yield from _share(f"{place}.min_confidence", lever.min_confidence)
        if lever.prediction in seen:
            yield error(
                f"{place}.prediction",
                f"{lever.prediction!r} has a lever already",
                "One prediction leads to one action; keep one of them.",
            )
        seen.add(lever.prediction)


def _label(place: str, label: str, known: Surroundings) -> Iterator[Remark]:
    if known.vocabulary is None or label in known.vocabulary:
        return
    close = difflib.get_close_matches(label[:60], known.vocabulary, n=1)
    classes = ", ".join(known.vocabulary[:20])
    yield error(
        place,
        f"the model knows no {label[:60]!r}",
        f"Did you mean {close[0]}?" if close else f"Its classes are {classes}.",
    )


def _traffic(plan: RolloutPlan) -> Iterator[Remark]:
    traffic = plan.traffic
    numbers: Iterable[tuple[str, float]] = (
        ("episodes_per_day", traffic.episodes_per_day),
        ("units", traffic.units),
        ("decisions_per_day", traffic.decisions_per_day),
    )
    for key, number in numbers:
        if number <= 0:
            yield error(f"traffic.{key}", f"is {number:g}", "Say how many are expected, above 0.")
    if not 0 < traffic.action_share <= 1:
        yield error(
            "traffic.action_share",
            f"is {traffic.action_share:g}",
            "It is a share of episodes, above 0 and at most 1.",
        )
    if traffic.decisions_per_day > traffic.episodes_per_day > 0:
        yield warning(
            "traffic.decisions_per_day",
            "more decisions are expected than episodes",
            "Count decided episodes, not frames.",
        )


def _trial(plan: RolloutPlan) -> Iterator[Remark]:
    trial = plan.trial
    yield from _share("trial.second_reader_share", trial.second_reader_share)
    yield from _share("trial.adjudicated_agreement_share", trial.adjudicated_agreement_share)
    if trial.second_reader_share == 0:
        yield warning(
            "trial.second_reader_share",
            "nobody reads a case twice, so how far people agree with each other is unknown",
            "Let a second person read a share of the cases, blind.",
        )
    if trial.adjudicated_agreement_share == 0:
        yield warning(
            "trial.adjudicated_agreement_share",
            "where model and human agree they are taken to be right",
            "Adjudicate a random share of agreements, such as 0.1.",
        )


def _guards(plan: RolloutPlan) -> Iterator[Remark]:
    yield from _share("hold_out", plan.hold_out)
    yield from _share("confidence_floor", plan.confidence_floor)
    if plan.hold_out == 0:
        yield warning(
            "hold_out",
            "is 0: once the model acts everywhere, nothing is left to compare it with",
            "Let humans decide a random share for good, such as 0.01.",
        )
    if plan.hold_out >= 0.5:
        yield warning("hold_out", "leaves most to humans for good", "A few percent are usual.")
    if not plan.out_of_domain_guard:
        yield warning(
            "out_of_domain_guard",
            "is off: the model acts on inputs unlike anything in training",
            "Leave it on unless flagged inputs are known to be harmless.",
        )
    for key, seconds in (
        ("episode_gap", plan.episode_gap_s),
        ("approval_valid", plan.approval_valid_s),
    ):
        if seconds <= 0:
            yield error(key, f"is {seconds:g} seconds", "Say a span above 0.")
    if plan.max_staleness_s < POLL_S:
        yield error(
            "max_staleness",
            f"is {plan.max_staleness_s:g} seconds, and gateways ask once a second",
            f"Say {POLL_S:g}s or more; 60s is usual.",
        )


def _share(place: str, share: float) -> Iterator[Remark]:
    if not 0 <= share <= 1:
        yield error(place, f"is {share:g}", "It is a share between 0 and 1.")
