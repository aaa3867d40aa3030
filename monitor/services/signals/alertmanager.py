"""Talk to Alertmanager through version 2 of its API.

What it answers is bounded in size and read as far as it is needed; faults come out as ours.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self, TypeVar

import httpx
import msgspec

from monitor.errors import AlertmanagerRefused, AlertmanagerUnreachable
from monitor.store.silence import Matcher

TIMEOUT_S = 5.0
MOST_BYTES = 16 << 20
"""Of one answer: a few ten thousand alerts."""

T = TypeVar("T")


class AlertStatus(msgspec.Struct, frozen=True, rename="camel"):
    """Whether an alert is told, and what keeps it from being told."""

    silenced_by: tuple[str, ...] = ()
    inhibited_by: tuple[str, ...] = ()


class StandingAlert(msgspec.Struct, frozen=True, rename="camel"):
    """An alert that fires."""

    fingerprint: str
    labels: dict[str, str]
    starts_at: datetime
    status: AlertStatus
    annotations: dict[str, str] = {}


class _SilenceStatus(msgspec.Struct, frozen=True):
    state: str


class FoundSilence(msgspec.Struct, frozen=True, rename="camel"):
    """A silence as Alertmanager has it."""

    id: str
    status: _SilenceStatus
    created_by: str
    comment: str
    ends_at: datetime
    updated_at: datetime

    @property
    def is_expired(self) -> bool:
        """Whether it silences nothing any more."""
        return self.status.state == "expired"


class _Config(msgspec.Struct, frozen=True):
    original: str


class Standing(msgspec.Struct, frozen=True):
    """Since when Alertmanager runs, and by which configuration."""

    uptime: datetime
    """When it was started."""
    config: _Config


class _Made(msgspec.Struct, frozen=True, rename={"silence_id": "silenceID"}):
    silence_id: str


class _NewMatcher(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    value: str
    is_regex: bool = False
    is_equal: bool = True


class _NewSilence(msgspec.Struct, frozen=True, rename="camel"):
    matchers: list[_NewMatcher]
    starts_at: datetime
    ends_at: datetime
    created_by: str
    comment: str


class Silencer(Protocol):
    """What is asked of Alertmanager; each raises when it does not answer or refuses."""

    def standing(self) -> Standing:
        """Ask since when it runs, and how."""

    def alerts(self) -> Sequence[StandingAlert]:
        """List the alerts that fire."""

    def silences(self) -> Mapping[str, FoundSilence]:
        """List silences by their ids, those that expired lately too."""

    def silence(
        self,
        matchers: Sequence[Matcher],
        created_by: str,
        comment: str,
        starts_at: datetime,
        ends_at: datetime,
    ) -> str:
        """Make a silence; give its id."""

    def expire(self, silence_id: str) -> None:
        """End a silence."""


class Alertmanager:
    """One Alertmanager; of a cluster, always the same.

    Parameters
    ----------
    url
        Without a path of its API; a name and password in it are sent as HTTP Basic.
    transport
        Carries requests instead of the network, for tests.
    """

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        self._url = httpx.URL(url.rstrip("/"))
        # Reading the authorities takes longer than all that is asked; plain HTTP needs none.
        self._client = httpx.Client(
            timeout=TIMEOUT_S, verify=self._url.scheme == "https", transport=transport
        )

    def __enter__(self) -> Self:
        """Hold its connection open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Let the connection go."""
        self._client.close()

    @property
    def address(self) -> str:
        """Its address, without what may be a secret."""
        return address_of(str(self._url))

    def standing(self) -> Standing:
        """Ask since when it runs, and how."""
        return self._read("GET", "status", "tell its status", Standing)

    def alerts(self) -> Sequence[StandingAlert]:
        """List the alerts that fire."""
        return self._read("GET", "alerts", "list its alerts", list[StandingAlert])

    def silences(self) -> Mapping[str, FoundSilence]:
        """List silences by their ids, those that expired lately too."""
        found = self._read("GET", "silences", "list its silences", list[FoundSilence])
        return {each.id: each for each in found}

    def silence(
        self,
        matchers: Sequence[Matcher],
        created_by: str,
        comment: str,
        starts_at: datetime,
        ends_at: datetime,
    ) -> str:
        """Make a silence; give its id."""
        wanted = _NewSilence(
            matchers=[_NewMatcher(name=each.name, value=each.value) for each in matchers],
            starts_at=starts_at.astimezone(UTC),
            ends_at=ends_at.astimezone(UTC),
            created_by=created_by,
            comment=comment,
        )
        body = msgspec.json.encode(wanted)
        return self._read("POST", "silences", "make a silence", _Made, body).silence_id

    def expire(self, silence_id: str) -> None:
        """End a silence."""
        self._ask("DELETE", f"silence/{silence_id}", "end a silence", None)

    def _read(
        self, method: str, path: str, asked: str, kind: type[T], body: bytes | None = None
    ) -> T:
        answer = self._ask(method, path, asked, body)
        try:
            return msgspec.json.decode(answer, type=kind)
        except (msgspec.DecodeError, RecursionError) as error:
            cause = f"its answer is not understood ({error})"
            raise AlertmanagerRefused(self.address, asked, cause) from error

    def _ask(self, method: str, path: str, asked: str, body: bytes | None) -> bytes:
        headers = {} if body is None else {"Content-Type": "application/json"}
        url = f"{self._url}/api/v2/{path}"
        held = bytearray()
        try:
            with self._client.stream(method, url, content=body, headers=headers) as response:
                for chunk in response.iter_bytes():
                    held += chunk
                    if len(held) > MOST_BYTES:
                        cause = f"its answer is larger than {MOST_BYTES >> 20} MiB"
                        raise AlertmanagerRefused(self.address, asked, cause)
        except httpx.HTTPError as error:
            cause = str(error) or type(error).__name__
            raise AlertmanagerUnreachable(self.address, cause) from error
        if response.is_success:
            return bytes(held)
        said = held[:200].decode(errors="replace").strip()
        raise AlertmanagerRefused(self.address, asked, f"{response.status_code} {said}")


def address_of(url: str) -> str:
    """Give an address without the password that may be in it."""
    return str(httpx.URL(url.rstrip("/")).copy_with(userinfo=b""))
