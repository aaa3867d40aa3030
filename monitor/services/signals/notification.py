"""Read what Alertmanager's webhook sends: version 4 of its payload, with limits.

Whoever holds a key of the role service may write here, so nothing is believed: sizes, names and
times are checked before anything is stored, and one alert that is wrong refuses them all.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec

from monitor.errors import BodyTooLarge, NotificationInvalid
from monitor.store.signal import Alert

VERSION = "4"
MOST_BYTES = 1 << 20
MOST_ALERTS = 1_000
MOST_LABELS = 64
LONGEST_LABEL = 1_000
LONGEST_NAME = 200
LONGEST_ANNOTATION = 10_000
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
AHEAD = timedelta(hours=1)
"""How far a clock may be ahead of ours."""

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,199}")
_FINGERPRINT = re.compile(r"[0-9a-f]{1,16}")

Pairs = Annotated[dict[str, str], msgspec.Meta(max_length=MOST_LABELS)]


class _Alert(msgspec.Struct, frozen=True, rename="camel"):
    status: str
    labels: Pairs
    fingerprint: str
    starts_at: Annotated[datetime, msgspec.Meta(tz=True)]
    annotations: Pairs = msgspec.field(default_factory=dict)


class _Notification(msgspec.Struct, frozen=True):
    version: str
    alerts: Annotated[list[_Alert], msgspec.Meta(max_length=MOST_ALERTS)]


def read_notification(body: bytes, now: datetime) -> tuple[Alert, ...]:
    """Read a notification into what it says of each alert, in the order of their fingerprints.

    Parameters
    ----------
    body
        JSON.
    now
        With a time zone.

    Raises
    ------
    BodyTooLarge
        If it is larger than `MOST_BYTES`.
    NotificationInvalid
        If it is not such a notification, or anything in it is beyond its limits.
    """
    if len(body) > MOST_BYTES:
        raise BodyTooLarge(MOST_BYTES)
    try:
        # A number this deep inside what is skipped is still parsed: the decoder bounds its depth.
        found = msgspec.json.decode(body, type=_Notification)
    except (msgspec.DecodeError, RecursionError) as error:
        raise NotificationInvalid(str(error)) from error
    if found.version != VERSION:
        raise NotificationInvalid(f"it has version {found.version[:20]!r}, not {VERSION!r}")
    alerts = (read_alert(place, each, now) for place, each in enumerate(found.alerts))
    # In one order everywhere, so that two monitors that are told at once never wait for each other.
    return tuple(sorted(alerts, key=lambda alert: alert.fingerprint))


def read_alert(place: int, given: _Alert, now: datetime) -> Alert:
    """Check one alert.

    Raises
    ------
    NotificationInvalid
        If it is not one, or beyond the limits.
    """
    where = f"alert {place}"
    if given.status not in {"firing", "resolved"}:
        raise NotificationInvalid(f"{where}: its status is neither firing nor resolved")
    if _FINGERPRINT.fullmatch(given.fingerprint) is None:
        raise NotificationInvalid(f"{where}: its fingerprint is none")
    check_labels(where, given.labels)
    for name, text in given.annotations.items():
        if not _fits(name, LONGEST_NAME) or not _fits(text, LONGEST_ANNOTATION):
            raise NotificationInvalid(f"{where}: an annotation is too long, or holds U+0000")
    return Alert(
        fingerprint=given.fingerprint,
        labels=given.labels,
        annotations=given.annotations,
        starts_at=read_beginning(where, given.starts_at, now),
        ends_at=now if given.status == "resolved" else None,
    )


def check_labels(where: str, labels: Mapping[str, str]) -> None:
    """Make sure labels are such as Prometheus makes, and have room.

    Raises
    ------
    NotificationInvalid
        If they are not.
    """
    for name, value in labels.items():
        if _LABEL_NAME.fullmatch(name) is None:
            raise NotificationInvalid(f"{where}: a label's name is none")
        if not _fits(value, LONGEST_LABEL):
            raise NotificationInvalid(f"{where}: the label {name} is too long, or holds U+0000")
    for name in ("alertname", "severity", "model"):
        if len(labels.get(name, "")) > LONGEST_NAME:
            raise NotificationInvalid(f"{where}: the label {name} is too long")
    if not labels.get("alertname"):
        raise NotificationInvalid(f"{where}: it has no label alertname")


def read_beginning(where: str, given: datetime, now: datetime) -> datetime:
    """Give when an alert began, to the millisecond, as Alertmanager's API writes it.

    Raises
    ------
    NotificationInvalid
        If it lies in the future, or before there were such alerts.
    """
    try:
        begun = given.astimezone(UTC)
    except OverflowError as error:
        raise NotificationInvalid(f"{where}: it began outside of time") from error
    if not EARLIEST <= begun <= now + AHEAD:
        raise NotificationInvalid(f"{where}: it began at {begun.isoformat()}, which cannot be")
    return begun.replace(microsecond=begun.microsecond // 1_000 * 1_000)


def _fits(text: str, longest: int) -> bool:
    return len(text) <= longest and "\0" not in text
