"""What the readings of an item come to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from monitor.review.item import Action, ItemState, Phase, Reading, ReviewItem, Why


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What an item has come to."""

    state: ItemState
    action: Action | None
    truth: str | None


def standing(readings: Iterable[Reading]) -> list[Reading]:
    """Keep what counts: each reader's last word that nobody took back, in the order given.

    Both phases are kept on record; of a reader's two answers the later stands.
    """
    said = sorted(readings, key=lambda reading: reading.id)
    gone = {reading.supersedes for reading in said if reading.supersedes is not None}
    last: dict[str, Reading] = {}
    for reading in said:
        if reading.id not in gone and not reading.withdrawn:
            last[reading.reviewer] = reading
    return sorted(last.values(), key=lambda reading: reading.id)


def blind_words(readings: Iterable[Reading]) -> list[Reading]:
    """Keep each reader's blind answer: the one that an estimate of agreement may use."""
    return standing(reading for reading in readings if reading.phase is Phase.BLIND)


def truth_of(item: ReviewItem, reading: Reading) -> str | None:
    """Tell which label a reading says is right; None for none of the classes.

    A kept production item has the model's answer for its label, a training item its own.
    """
    match reading.action:
        case Action.RELABEL:
            return reading.label
        case Action.KEEP:
            held = item.new.label if item.new.label is not None else item.new.prediction
            return reading.label or held
        case Action.DELETE | Action.NOT_ANY_CLASS | Action.UNSURE:
            return None


def resolve(item: ReviewItem, readings: Sequence[Reading]) -> Resolution:
    """Conclude from all readings of an item.

    Readers who are unsure settle nothing; an adjudicator settles alone. Until as many as the item
    asks for have spoken it is open, and if they were not of one mind it waits for adjudication.
    """
    said = [each for each in standing(readings) if each.action is not Action.UNSURE]
    needed = 1 if item.new.reason is Why.ADJUDICATION else item.new.overlap
    if len(said) < needed:
        return Resolution(state=ItemState.OPEN, action=None, truth=None)
    opinions = {(_kind(each), truth_of(item, each)) for each in said}
    if len(opinions) > 1:
        return Resolution(state=ItemState.CONFLICTING, action=None, truth=None)
    truth = truth_of(item, said[-1])
    return Resolution(state=ItemState.DONE, action=_action(item, said[-1], truth), truth=truth)


def _kind(reading: Reading) -> Action:
    """Fold the two ways to name a label into one: a blind reader cannot know which it was."""
    return Action.KEEP if reading.action is Action.RELABEL else reading.action


def _action(item: ReviewItem, reading: Reading, truth: str | None) -> Action:
    if reading.action in (Action.KEEP, Action.RELABEL):
        held = item.new.label if item.new.label is not None else item.new.prediction
        return Action.KEEP if truth == held else Action.RELABEL
    return reading.action
