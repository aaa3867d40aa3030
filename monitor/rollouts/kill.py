"""Kill latches: while one that covers a model is armed, humans act."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class KillScope(StrEnum):
    """How much a latch covers."""

    INSTALLATION = "installation"
    MODEL = "model"
    VERSION = "version"
    SITE = "site"


EVERYTHING = "*"
"""The key of a latch over the installation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KillLatch:
    """One armed latch."""

    scope: KillScope
    key: str
    """A model, ``model@version``, a site, or `EVERYTHING`."""
    armed_by: str
    reason: str
    armed_at: datetime


def covers_rollout(latch: KillLatch, model: str, version: str) -> bool:
    """Tell whether a latch holds a rollout.

    One over a site does, wherever the candidate is exposed: humans act on some of the units that it
    is judged by, and whatever was wrong there may be wrong elsewhere.
    """
    return latch.scope is KillScope.SITE or is_killed([latch], model, version)


def version_key(model: str, version: str) -> str:
    """Name one version of a model as the key of a latch."""
    return f"{model}@{version}"


def is_killed(
    latches: Iterable[KillLatch], model: str, version: str | None, site: str | None = None
) -> bool:
    """Tell whether any armed latch covers this model, version or site.

    Parameters
    ----------
    latches
        Those armed now.
    model, version
        What would act; `version` is ``None`` when it is not known.
    site
        Where it would act; the unit of the request, when it named one.
    """
    covered = {(KillScope.MODEL, model)}
    if version is not None:
        covered.add((KillScope.VERSION, version_key(model, version)))
    if site is not None:
        covered.add((KillScope.SITE, site))
    return any(
        latch.scope is KillScope.INSTALLATION or (latch.scope, latch.key) in covered
        for latch in latches
    )
