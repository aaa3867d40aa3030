"""HTTP with bounds on what comes before a request's body.

The server's parser takes headers of any size for as long as a client cares to send them, and this
happens before any key is looked at. Bodies are bounded where they are read, in `inference.body`.
"""

import asyncio
from typing import Any

from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
"""Most bytes of a request line and its headers."""
HEAD_TIMEOUT_S = 20.0
"""Longest time from connecting, or from a request's first byte, to the end of its headers."""


class BoundedHttp(HttpToolsProtocol):
    """One connection; gives up on a head that is too large or takes too long."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    @override
    def connection_made(  # type: ignore[override]  # narrowed by the server itself
        self, transport: asyncio.Transport
    ) -> None:
        super().connection_made(transport)
        self._begin_head()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        super().connection_lost(exc)

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begin_head()

    @override
    def on_headers_complete(self) -> None:
        self._end_head()
        super().on_headers_complete()

    @override
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._in_head:
            return
        # Counted after parsing: what completed a head has already reset the count.
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(b"431 Request Header Fields Too Large", "the headers are too large")

    def _begin_head(self) -> None:
        self._end_head()
        self._in_head = True
        self._head_timer = self.loop.call_later(
            HEAD_TIMEOUT_S, self._refuse, b"408 Request Timeout", "the headers took too long"
        )

    def _end_head(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: bytes, message: str) -> None:
        self._end_head()
        if self.transport.is_closing():
            return
        body = f"{message}: at most {MAX_HEAD_BYTES} bytes in {HEAD_TIMEOUT_S:g} s\n".encode()
        head = b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
        length = b"content-length: %d\r\n\r\n" % len(body)
        self.transport.write(b"HTTP/1.1 " + status + b"\r\n" + head + length + body)
        self.transport.close()
