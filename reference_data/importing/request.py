"""What an import is asked to do, and how it says how far it has come."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from reference_data.scores.member import DEFAULT, Member


class Progress(Protocol):
    """Where an import reports its steps; a command line turns them into bars."""

    def step(self, name: str, total: int | None) -> AbstractContextManager[Callable[[int], None]]:
        """Begin a step and return what to call with the number of items just done.

        Parameters
        ----------
        name
            What is being done, as a person would say it.
        total
            Number of items, or ``None`` when nobody knows.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """A Learner, the data it was trained on, and how to turn them into a bundle."""

    learner: Path
    """What ``learn.export()`` wrote: a pickle."""
    data: Path
    """A folder per class, or a CSV or Parquet table."""
    name: str
    bundles: Path
    """The folder of all bundles; this one goes into a folder of the model's name in it."""
    version: str | None = None
    """``None`` takes the next number."""
    trust_pickle: bool = False
    """Whether the owner agreed that opening the Learner runs code it contains."""
    code: Path | None = None
    """A Python file with the classes and functions the pickle refers to."""
    split: Literal["unknown"] | None = None
    """``"unknown"`` imports without knowing which items were held out: charts, no alarms."""
    group_by: str | None = None
    """Column of the table, or pattern of paths, that items of one episode share; ``None`` takes the
    column ``episode`` where there is one."""
    mid_layer: str | None = None
    """Module whose output the domain score looks at; ``None`` chooses."""
    domain_body: str | None = None
    """A torchvision or timm architecture whose weights lie on this machine, or a file with the body
    from before fine-tuning: the domain score looks at its features, in a second pass."""
    alpha: float | None = None
    """Share of healthy inputs to flag; ``None`` chooses by the number of calibration rows."""
    scores: tuple[Member, ...] = DEFAULT
    """Members of the semantic score; those that do not fit the model switch themselves off."""
    cross_folds: int | None = None
    """Refits for cross-conformal p-values; for fewer than a hundred held-out episodes."""
    seed: int = 0
    """Divides the held-out rows and picks the items for the parity proof."""
    unconfined: bool = False
    """Open the pickle even where this machine offers no isolation; recorded in the bundle."""
    drill: bool = True
    """Shift held-out pictures and keep what the model makes of them."""
