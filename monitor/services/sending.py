"""Send a folder or a table of files to a gateway, as a camera or a batch job would."""

import asyncio
import time
import typing
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import orjson

from monitor.errors import GatewayRefused, GatewayUnreachable, NothingToSend

MAX_ATTEMPTS = 8
"""Tries of one input while the gateway answers 429 or refuses the connection."""
LONGEST_WAIT_S = 30.0
"""Longest pause that is honoured of a Retry-After."""
RESERVED_COLUMNS = frozenset({"path", "label", "is_valid", "episode", "unit", "case_id"})
"""Columns of a table with a meaning of their own; every other one is a segment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One input to send."""

    path: Path
    case_id: str | None = None
    unit: str | None = None
    segment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of one input."""

    item: Item
    outcome: str
    """``ok``, ``rejected`` or ``failed``."""
    cause: str | None = None
    """The gateway's code for a rejection, or why there was no answer."""
    message: str | None = None
    event_id: str | None = None
    prediction: str | None = None
    confidence: float | None = None
    p_value: float | None = None
    flagged: bool = False
    sealed: bool = False
    """Whether the prediction is hidden: the model is in shadow."""
    milliseconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SendSummary:
    """What became of all of them."""

    sent: int
    ok: int
    rejected: int
    failed: int
    flagged: int
    sealed: int
    """Predicted, and hidden until the human decision is in; what was flagged is not known."""
    causes: dict[str, int]
    predictions: dict[str, int]
    p50_ms: float | None
    p99_ms: float | None
    seconds: float
    examples: tuple[str, ...]
    """A sentence for each of the first few inputs that got no prediction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where inputs go."""

    url: str
    """The gateway's address, such as ``http://127.0.0.1:8000``."""
    key: str
    model: str | None
    concurrency: int = 8
    """Most requests under way at once."""
    rate: float | None = None
    """Inputs begun per second; as fast as `concurrency` allows when absent."""
    timeout_s: float = 60.0


def find_items(
    source: Path,
    *,
    unit: str | None = None,
    case_from_name: bool = False,
    segment: Mapping[str, str] | None = None,
) -> list[Item]:
    """List the inputs of a file, a folder (with all below it) or a CSV or Parquet table.

    Parameters
    ----------
    source
        A table has a column ``path``, relative to the table, and may have ``case_id`` and
        ``unit``; its other columns, but for the label's, are sent as segments.
    unit
        Unit of every input without one of its own.
    case_from_name
        Take the file's name without its ending as the case of an input without one.
    segment
        Segments of every input; a table's columns win.

    Raises
    ------
    NothingToSend
        If the source does not exist or holds no file.
    """
    if not source.exists():
        raise NothingToSend(source, "there is no such file or folder")
    if source.suffix.lower() in {".csv", ".parquet"}:
        items = _read_table(source, segment or {})
    elif source.is_dir():
        files = sorted(
            path
            for path in source.rglob("*")
            if path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(source).parts)
        )
        items = [Item(path=path, segment=dict(segment or {})) for path in files]
    else:
        items = [Item(path=source, segment=dict(segment or {}))]
    if not items:
        raise NothingToSend(source, "it holds no file")
    return [
        Item(
            path=item.path,
            unit=item.unit or unit,
            case_id=item.case_id or (item.path.stem if case_from_name else None),
            segment=item.segment,
        )
        for item in items
    ]


def _read_table(source: Path, segment: Mapping[str, str]) -> list[Item]:
    if source.suffix.lower() == ".csv":
        import csv

        with source.open(newline="", encoding="utf-8-sig") as handle:
            rows: Iterable[Mapping[str, object]] = list(csv.DictReader(handle))
    else:
        from pyarrow import parquet

        rows = parquet.read_table(source).to_pylist()
    items = []
    for number, row in enumerate(rows, start=1):
        if not row.get("path"):
            raise NothingToSend(source, f"row {number} has no value in the column 'path'")
        extra = {
            name: str(value)
            for name, value in row.items()
            if name not in RESERVED_COLUMNS and value not in (None, "")
        }
        items.append(
            Item(
                path=source.parent / str(row["path"]),
                unit=_text(row.get("unit")),
                case_id=_text(row.get("case_id")),
                segment={**segment, **extra},
            )
        )
    return items


def _text(value: object) -> str | None:
    return None if value in (None, "") else str(value)


async def send(
    items: Sequence[Item],
    destination: Destination,
    on_answer: Callable[[Answer], None] = lambda _: None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> SendSummary:
    """Send every input, going on when one is rejected.

    Parameters
    ----------
    items
        In the order they shall be begun.
    destination
        Where to, how fast, how many at once.
    on_answer
        Called with each answer as it comes.
    transport
        What carries the requests; the network when absent.

    Raises
    ------
    GatewayUnreachable
        If no connection could be made within `MAX_ATTEMPTS` tries.
    GatewayRefused
        If the key is missing or may not send.
    """
    answers: list[Answer] = []
    started = time.perf_counter()
    waiting = iter(enumerate(items))
    limits = httpx.Limits(max_connections=destination.concurrency)
    async with httpx.AsyncClient(
        base_url=destination.url,
        headers={"Authorization": f"Bearer {destination.key}"},
        timeout=destination.timeout_s,
        limits=limits,
        transport=transport,
        # A gateway is ours and near; a proxy of the environment is for the world outside.
        trust_env=False,
    ) as client:

        async def work() -> None:
            for number, item in waiting:
                if destination.rate:
                    due = started + number / destination.rate
                    await asyncio.sleep(max(0.0, due - time.perf_counter()))
                answer = await _send_one(client, destination, item)
                answers.append(answer)
                on_answer(answer)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(destination.concurrency, len(items))):
                    group.create_task(work())
        except* (GatewayUnreachable, GatewayRefused) as failures:
            raise failures.exceptions[0] from None
    return _summarise(answers, time.perf_counter() - started)


async def _send_one(client: httpx.AsyncClient, destination: Destination, item: Item) -> Answer:
    try:
        content = await asyncio.to_thread(item.path.read_bytes)
    except OSError as error:
        reason = error.strerror or "cannot be read"
        return Answer(item=item, outcome="failed", cause="unreadable", message=reason)
    fields = {
        "model": destination.model,
        "unit": item.unit,
        "case_id": item.case_id,
        "segment": orjson.dumps(dict(item.segment)).decode() if item.segment else None,
    }
    data = {name: value for name, value in fields.items() if value is not None}
    for attempt in range(1, MAX_ATTEMPTS + 1):
        begun = time.perf_counter()
        try:
            reply = await client.post(
                "/predict", data=data, files={"file": (item.path.name, content)}
            )
        except httpx.ConnectError as error:
            # Nothing was sent, so trying again cannot count the input twice.
            if attempt == MAX_ATTEMPTS:
                raise GatewayUnreachable(destination.url) from error
            await asyncio.sleep(min(0.1 * 2**attempt, 2.0))
            continue
        except httpx.HTTPError as error:
            # It may have been recorded: sending it again could count it twice.
            return Answer(item=item, outcome="failed", cause="no_answer", message=str(error))
        if reply.status_code == httpx.codes.TOO_MANY_REQUESTS and attempt < MAX_ATTEMPTS:
            await asyncio.sleep(_retry_after(reply))
            continue
        return _read(item, reply, (time.perf_counter() - begun) * 1e3, destination)
    raise AssertionError("the last attempt returns or raises")


def _retry_after(reply: httpx.Response) -> float:
    try:
        seconds = float(reply.headers.get("Retry-After", "1"))
    except ValueError:
        seconds = 1.0
    return min(max(seconds, 0.05), LONGEST_WAIT_S)


def _read(
    item: Item, reply: httpx.Response, milliseconds: float, destination: Destination
) -> Answer:
    body = _body(reply)
    if reply.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        raise GatewayRefused(destination.url, str(body.get("detail") or reply.text[:200]))
    if reply.is_success:
        return Answer(
            item=item,
            outcome="ok",
            event_id=body.get("event_id"),
            prediction=body.get("prediction"),
            confidence=body.get("confidence"),
            p_value=body.get("p_value"),
            flagged=bool(body.get("flagged")),
            sealed=bool(body.get("sealed")),
            milliseconds=milliseconds,
        )
    rejected = 400 <= reply.status_code < 500 and reply.status_code != 429
    return Answer(
        item=item,
        outcome="rejected" if rejected else "failed",
        cause=str(body.get("error") or f"http_{reply.status_code}"),
        message=str(body.get("detail") or reply.text[:200]),
        event_id=body.get("event_id"),
        milliseconds=milliseconds,
    )


def _body(reply: httpx.Response) -> dict[str, typing.Any]:
    try:
        body = orjson.loads(reply.content)
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _summarise(answers: Sequence[Answer], seconds: float) -> SendSummary:
    outcomes = Counter(answer.outcome for answer in answers)
    times = sorted(answer.milliseconds for answer in answers if answer.outcome == "ok")
    unanswered = [answer for answer in answers if answer.outcome != "ok"]
    return SendSummary(
        sent=len(answers),
        ok=outcomes["ok"],
        rejected=outcomes["rejected"],
        failed=outcomes["failed"],
        flagged=sum(answer.flagged for answer in answers),
        sealed=sum(answer.sealed for answer in answers),
        causes=dict(Counter(str(answer.cause) for answer in unanswered).most_common()),
        predictions=dict(
            Counter(
                str(a.prediction) for a in answers if a.outcome == "ok" and not a.sealed
            ).most_common()
        ),
        p50_ms=times[len(times) // 2] if times else None,
        p99_ms=times[min(len(times) - 1, int(len(times) * 0.99))] if times else None,
        seconds=seconds,
        examples=tuple(f"{a.item.path}: {a.message}" for a in unanswered[:5]),
    )
