"""Ask a Prometheus for one number."""

import math
from dataclasses import dataclass
from datetime import datetime

import httpx
import msgspec

TIMEOUT_S = 5.0
"""A gate waits no longer for a source: safety gates of the same look wait behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """It answered, and the query found nothing that could be compared with a limit."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """It did not answer, or not the question."""

    why: str


class _Sample(msgspec.Struct, frozen=True):
    value: tuple[float, str]


class _Data(msgspec.Struct, frozen=True):
    resultType: str  # noqa: N815  Prometheus' own name
    result: msgspec.Raw


class _Answer(msgspec.Struct, frozen=True):
    status: str
    data: _Data | None = None
    error: str = ""


def ask(url: str, query: str, at: datetime) -> float | Nothing | Unreadable:
    """Evaluate a query at one instant.

    Parameters
    ----------
    url
        Of the server, without a path of its API.
    query
        PromQL that gives one number.
    at
        With a time zone.
    """
    try:
        response = httpx.get(
            f"{url.rstrip('/')}/api/v1/query",
            params={"query": query, "time": at.timestamp()},
            timeout=TIMEOUT_S,
        )
        answer = msgspec.json.decode(response.content, type=_Answer)
    except httpx.HTTPError as fault:
        cause = str(fault) or type(fault).__name__
        return Unreadable(why=f"Prometheus at {url} does not answer: {cause}")
    except msgspec.DecodeError:
        return Unreadable(
            why=f"{url} answered {response.status_code}, and not as Prometheus does; correct "
            "monitor.prometheus_url"
        )
    if answer.status != "success" or answer.data is None:
        return Unreadable(why=f"Prometheus refuses the query: {answer.error or answer.status}")
    return _number(answer.data)


def _number(data: _Data) -> float | Nothing | Unreadable:
    try:
        if data.resultType == "scalar":
            values = [msgspec.json.decode(data.result, type=tuple[float, str])[1]]
        elif data.resultType == "vector":
            samples = msgspec.json.decode(data.result, type=list[_Sample])
            values = [sample.value[1] for sample in samples]
        else:
            return Unreadable(why=f"the query gives a {data.resultType}; it must give one number")
        numbers = [float(value) for value in values]
    except (msgspec.DecodeError, ValueError) as fault:
        return Unreadable(why=f"the answer of Prometheus cannot be read: {fault}")
    if not numbers:
        return Nothing(why="the query finds no series")
    if len(numbers) > 1:
        return Unreadable(
            why=f"the query finds {len(numbers)} series; make it one, with sum() or max()"
        )
    if not math.isfinite(numbers[0]):
        return Nothing(why=f"the query gives {numbers[0]}, which is no number to compare")
    return numbers[0]
