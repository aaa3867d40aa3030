"""What waits for a person, and what persons said about it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Origin(StrEnum):
    """Where an item comes from."""

    PRODUCTION = "production"
    """An event of the field."""
    REFERENCE = "reference"
    """An item of the training data."""


class Why(StrEnum):
    """Why an item is looked at."""

    OUT_OF_DOMAIN = "out_of_domain"
    """Flagged: unlike anything in training."""
    UNCERTAIN = "uncertain"
    """The model was not sure."""
    DISAGREEMENT = "disagreement"
    """The model said something else than the human."""
    ACTION = "action"
    """The model acted."""
    TOP_LOSS = "top_loss"
    """A training item the model finds hardest to believe."""
    AUDIT = "audit"
    """Drawn at random from everything; without these, accuracy could not be estimated."""
    SECOND_READER = "second_reader"
    """Decided by one person already; a second looks, and sees nothing of the first."""
    ADJUDICATION = "adjudication"
    """Read by others with one mind or two; this reading settles it."""
    GOLD = "gold"
    """The answer is known: it measures the reader."""


class Purpose(StrEnum):
    """What an item is for; a subject has at most one item for each."""

    SAMPLE = "sample"
    """Looked at for what the draw said of it: flagged, uncertain, disagreeing, or by chance."""
    SECOND_READING = "second_reading"
    ADJUDICATION = "adjudication"
    CLEANING = "cleaning"
    """A training item: train, then clean, then train again."""
    GOLD = "gold"


def purpose_of(reason: Why) -> Purpose:
    """Tell what an item of this reason is for."""
    match reason:
        case Why.SECOND_READER:
            return Purpose.SECOND_READING
        case Why.ADJUDICATION:
            return Purpose.ADJUDICATION
        case Why.TOP_LOSS:
            return Purpose.CLEANING
        case Why.GOLD:
            return Purpose.GOLD
        case Why.OUT_OF_DOMAIN | Why.UNCERTAIN | Why.DISAGREEMENT | Why.ACTION | Why.AUDIT:
            return Purpose.SAMPLE


class Action(StrEnum):
    """What a reader does with an item: fastai's cleaner's three, and two ways to say no."""

    KEEP = "keep"
    """The label it has is right."""
    RELABEL = "relabel"
    """Another label of the vocabulary is right."""
    DELETE = "delete"
    """Unusable: it belongs in no training set."""
    NOT_ANY_CLASS = "not_any_class"
    """A fine picture of something the model has no word for."""
    UNSURE = "unsure"
    """The reader cannot tell: the item stays open for another."""


class ItemState(StrEnum):
    """How an item stands."""

    OPEN = "open"
    DONE = "done"
    CONFLICTING = "conflicting"
    """Its readers were not of one mind: it waits for adjudication."""
    WITHDRAWN = "withdrawn"
    """Nobody is to look at it any more: the picture was erased, or the version retired."""


class Phase(StrEnum):
    """What a reader knew."""

    BLIND = "blind"
    """Nothing of what the model said."""
    REVEALED = "revealed"
    """The model's answer, after the blind one was given, or because the item is not blind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewItem:
    """Something to be looked at."""

    model: str
    bundle_sha: str
    origin: Origin
    subject: str
    """The event's id, or the training item's path as imported."""
    reason: Why
    inclusion_probability: float
    """Chance with which it came into the queue at all; estimates weight by its inverse."""
    audit: bool
    """Whether it is also part of the uniform random audit."""
    priority: float
    """Higher ones are handed out first."""
    blind: bool
    """Whether the reader answers before seeing what the model said."""
    overlap: int = 1
    """How many people are to read it."""
    case_id: str | None = None
    unit: str | None = None
    at: datetime | None = None
    """When the event happened; None for training items."""
    prediction: str | None = None
    confidence: float | None = None
    label: str | None = None
    """The label it has: of training, or the human's decision; None without one."""
    loss: float | None = None
    """Cross-entropy of the label it has, in nats; training items only."""
    split: str | None = None
    """``train`` or ``valid``; training items only."""
    picture: str | None = None
    """Reference of the small picture, where one was kept."""
    attempt: int | None = None
    stage: str | None = None
    not_for: tuple[str, ...] = ()
    """People who have had their say about the subject and may not read it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewItem:
    """An item in the queue."""

    id: str
    new: NewItem
    state: ItemState
    created_at: datetime
    resolved_at: datetime | None = None
    action: Action | None = None
    """What came of it; None while it is open."""
    truth: str | None = None
    """The label that came of it; None when it is open, deleted, or none of the classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one reader said at one moment; never changed, only superseded."""

    id: int
    item_id: str
    reviewer: str
    phase: Phase
    action: Action
    label: str | None
    """The label given: with `Action.RELABEL`, and in a blind reading whatever was seen."""
    seconds: float | None
    """How long the reader took, as the client measured it."""
    note: str
    changed_after_reveal: bool
    supersedes: int | None
    withdrawn: bool
    """An undo: what it supersedes no longer counts, and nothing stands in its place."""
    key: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """An item in a reader's hands."""

    item_id: str
    reviewer: str
    token: int
    """Rises with every claim; only the latest may be answered with."""
    until: datetime
