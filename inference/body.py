"""Receives what a request carries, within bounds that hold while it arrives."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from starlette.requests import ClientDisconnect, Request

from inference.errors import Cause, Overloaded, Refused
from inference.upload import shown


class BodyBudget:
    """Bounds the bytes of all bodies held in memory at one time."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held = 0
        self._bodies = 0

    @contextlib.contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Hold room for a body while the block runs.

        Raises
        ------
        Overloaded
            There is none. A single body always finds room.
        """
        if self._held and self._held + size > self._max_bytes:
            raise Overloaded(self._bodies, 1)
        self._held += size
        self._bodies += 1
        try:
            yield
        finally:
            self._held -= size
            self._bodies -= 1


def declared_length(request: Request, limit: int) -> int:
    """Return how many bytes a body may turn out to have.

    Raises
    ------
    Refused
        The request says that it is larger than `limit`, or compressed: nothing is unpacked here.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise Refused(
            Cause.UNSUPPORTED_MEDIA_TYPE,
            f"Content-Encoding says {shown(encoding)}; send the body as it is, not compressed",
        )
    header = request.headers.get("content-length")
    if header is None:
        return limit
    if not header.isascii() or not header.isdigit():
        raise Refused(Cause.MALFORMED, "Content-Length is not a number")
    if int(header) > limit:
        raise _too_large(limit)
    return int(header)


async def receive(request: Request, limit: int, timeout_s: float) -> bytes:
    """Read a body, stopping as soon as it breaks a bound.

    A body sent in chunks, without a length, is taken like any other and stopped at the same limit.

    Raises
    ------
    Refused
        It is larger than `limit`, took longer than `timeout_s`, or its client went away.
    """
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in _stream(request):
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
                chunks.append(chunk)
    except TimeoutError as error:
        raise Refused(
            Cause.TOO_SLOW, f"the body did not arrive within {timeout_s:g} s; send it again"
        ) from error
    except ClientDisconnect as error:
        raise Refused(
            Cause.DISCONNECTED, "the client went away in the middle of the body"
        ) from error
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _stream(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.stream():
        if chunk:
            yield chunk


def _too_large(limit: int) -> Refused:
    return Refused(
        Cause.TOO_MANY_BYTES, f"the body is larger than the {limit:,} bytes taken here; send less"
    )
