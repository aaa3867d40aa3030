"""A case of the trial: what the model said beside what people said."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

NOT_ANY_CLASS = "(not any class)"
"""The truth of what no class names: whoever named one was wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialCase:
    """One case that the manual process has decided and the model has predicted."""

    event_id: str
    """Its first frame: the prediction is of that one, for it is recorded before anybody decides."""
    case_id: str | None
    episode_id: str
    at: datetime
    unit: str | None
    segment: Mapping[str, str]
    prediction: str
    confidence: float
    flagged: bool
    picture: str | None
    """Reference of the small picture."""
    human: str
    """What the manual process decided, as last corrected."""
    human_by: str
    model_acts: bool
    """Whether any frame pulls a lever."""
    human_acts: bool
    """Whether what the human decided is what a lever is for."""
    inclusion_probability: float | None = None
    """Chance with which it was drawn for deciding; None when nobody drew."""
    second: str | None = None
    """What a second reader said, blind."""
    truth: str | None = None
    """What an adjudicator settled."""
    chance: float | None = None
    """With which the case was adjudicated; None while it is not."""

    @property
    def agreed(self) -> bool:
        """Whether model and human say the same."""
        return self.prediction == self.human
