"""Where notices go: a structured log line, and the targets Apprise knows.

A target is one destination. Each has an outbox row of its own per notice, so a dead one is retried
alone and nobody is told twice because of it. Targets are named by a digest of their URL: an outbox
row, a log line or a status page never shows the URL, which holds the destination's secret.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import SecretStr

from monitor.errors import NotDelivered

LOG_TARGET = "log"

_log = logging.getLogger("fieldwatch.notices")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing operators are told."""

    key: str
    """The same for every attempt and every target; recipients may drop a key seen before."""
    title: str
    body: str
    fields: dict[str, str]
    """What the log line carries besides the title."""


class Target(Protocol):
    """A destination that accepts notices."""

    @property
    def name(self) -> str:
        """Tell targets apart without revealing a secret."""

    def deliver(self, notice: Notice) -> None:
        """Hand the notice over, or raise `NotDelivered`."""


class LogTarget:
    """The process's own log: one line of JSON per notice."""

    name = LOG_TARGET

    def deliver(self, notice: Notice) -> None:
        """Write the line."""
        line = {"event": "notice", "key": notice.key, "title": notice.title, **notice.fields}
        _log.warning(json.dumps(line, sort_keys=True))


class AppriseTarget:
    """One Apprise URL, such as ``mailto://…`` or ``slack://…``.

    Parameters
    ----------
    url
        As https://github.com/caronc/apprise/wiki lists them.

    Raises
    ------
    ValueError
        If Apprise does not understand the URL.
    """

    def __init__(self, url: SecretStr) -> None:
        # Apprise takes a third of a second to import; a monitor without targets never pays it.
        import apprise

        self._apprise = apprise.Apprise()
        if not self._apprise.add(url.get_secret_value()):
            scheme = url.get_secret_value().partition(":")[0]
            raise ValueError(
                f"a notification URL starting with {scheme}: is not one Apprise understands; "
                "mend monitor.notify_urls (see https://github.com/caronc/apprise/wiki)"
            )
        self.name = target_name(url)

    def deliver(self, notice: Notice) -> None:
        """Send it, waiting for the destination's answer."""
        body = f"{notice.body}\n\nnotice {notice.key}"
        if not self._apprise.notify(title=notice.title, body=body):
            raise NotDelivered(self.name)


def target_name(url: SecretStr) -> str:
    """Name an Apprise URL by its scheme and a digest."""
    text = url.get_secret_value()
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{text.partition(':')[0]}-{digest}"


def target_names(urls: Sequence[SecretStr]) -> tuple[str, ...]:
    """List every target a notice goes to, the log first."""
    return (LOG_TARGET, *(target_name(url) for url in urls))


def open_targets(urls: Sequence[SecretStr]) -> dict[str, Target]:
    """Open the log and every configured URL.

    Raises
    ------
    ValueError
        If Apprise does not understand one of the URLs.
    """
    targets: list[Target] = [LogTarget(), *(AppriseTarget(url) for url in urls)]
    return {target.name: target for target in targets}
