"""Read from Alertmanager's configuration how long a page waits, and whether we are told of it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec
import yaml

WEBHOOK = "/v1/alertmanager"
DEFAULT_WAIT = "30s"
"""Alertmanager's own, where no route says how long it waits."""
HIDDEN = "<secret>"
"""Stands in the place of addresses from Alertmanager 0.26 on."""

_MATCHER = re.compile(r'\s*"?([\w.:]+)"?\s*(=~|!~|!=|=)\s*(?:"(.*)"|(.*?))\s*', re.S)


class _Route(msgspec.Struct, frozen=True, rename={"goes_on": "continue"}):
    receiver: str | None = None
    group_wait: str | None = None
    matchers: list[str] = []
    match: dict[str, str] = {}
    match_re: dict[str, str] = {}
    goes_on: bool = False
    routes: list["_Route"] = []


class _Webhook(msgspec.Struct, frozen=True):
    url: str = ""
    url_file: str = ""


class _Receiver(msgspec.Struct, frozen=True):
    name: str
    webhook_configs: list[_Webhook] = []


class _Config(msgspec.Struct, frozen=True):
    route: _Route
    receivers: list[_Receiver]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Where an alert goes, and how long it waits before it does."""

    receiver: str
    group_wait: str
    tells_monitor: bool | None
    """Whether the monitor's webhook is among the receiver's; ``None`` where it is not told."""

    @property
    def waits(self) -> bool:
        """Whether it waits at all."""
        return any(int(number) for number in re.findall(r"\d+", self.group_wait))


def ways(original: str, labels: Mapping[str, str]) -> tuple[Way, ...]:
    """Follow an alert through a configuration.

    Parameters
    ----------
    original
        The configuration, as Alertmanager's status has it.
    labels
        Of the alert.

    Raises
    ------
    ValueError
        If the configuration cannot be followed.
    """
    try:
        config = msgspec.convert(yaml.safe_load(original), _Config)
        found = tuple(_descend(config.route, "", DEFAULT_WAIT, labels))
    except (msgspec.ValidationError, yaml.YAMLError, re.error, RecursionError) as error:
        raise ValueError(str(error)) from error
    told = {each.name: _tells_monitor(each) for each in config.receivers}
    return tuple(
        Way(receiver=receiver, group_wait=wait, tells_monitor=told.get(receiver, False))
        for receiver, wait in found
    )


def _descend(
    route: _Route, receiver: str, wait: str, labels: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    receiver, wait = route.receiver or receiver, route.group_wait or wait
    taken = False
    for child in route.routes:
        if _matches(child, labels):
            taken = True
            yield from _descend(child, receiver, wait, labels)
            if not child.goes_on:
                break
    if not taken:
        yield receiver, wait


def _matches(route: _Route, labels: Mapping[str, str]) -> bool:
    matchers = [_parsed(each) for each in route.matchers]
    matchers += [(name, "=", value) for name, value in route.match.items()]
    matchers += [(name, "=~", value) for name, value in route.match_re.items()]
    return all(_holds(operator, value, labels.get(name, "")) for name, operator, value in matchers)


def _parsed(matcher: str) -> tuple[str, str, str]:
    found = _MATCHER.fullmatch(matcher)
    if found is None:
        raise ValueError(f"the matcher {matcher!r} is not understood")
    name, operator, quoted, bare = found.groups()
    return name, operator, bare if quoted is None else quoted.replace('\\"', '"')


def _holds(operator: str, value: str, label: str) -> bool:
    if operator in {"=", "!="}:
        return (label == value) is (operator == "=")
    return (re.fullmatch(value, label) is not None) is (operator == "=~")


def _tells_monitor(receiver: _Receiver) -> bool | None:
    urls = [each.url for each in receiver.webhook_configs]
    if any(url.rstrip("/").endswith(WEBHOOK) for url in urls):
        return True
    is_hidden = any(each.url in {"", HIDDEN} for each in receiver.webhook_configs)
    return None if is_hidden else False
