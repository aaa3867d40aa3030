"""A pager: an HTTP server that keeps every notification of Alertmanager, and when it came."""

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from typing_extensions import override

BEGINNING = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One alert, as it was told."""

    received_at: datetime
    """When it came."""
    receiver: str
    status: str
    """``firing`` or ``resolved``."""
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def name(self) -> str:
        """The alert's name."""
        return self.labels["alertname"]


class Pager:
    """Listens while the context is open."""

    def __init__(self) -> None:
        self._notices: list[Notice] = []
        self._came = threading.Condition()
        pager = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                pager.take(json.loads(body))
                self.send_response(200)
                self.end_headers()

            @override
            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "Pager":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}/"

    def take(self, message: dict[str, Any]) -> None:
        """Keep the alerts of one notification."""
        now = datetime.now(UTC)
        with self._came:
            self._notices += [
                Notice(
                    received_at=now,
                    receiver=message["receiver"],
                    status=alert["status"],
                    labels=alert["labels"],
                    annotations=alert["annotations"],
                )
                for alert in message["alerts"]
            ]
            self._came.notify_all()

    def notices(self, receiver: str, status: str | None = None) -> list[Notice]:
        """List what came to a receiver, in order."""
        with self._came:
            return [
                n for n in self._notices if n.receiver == receiver and status in (None, n.status)
            ]

    def wait_for(
        self, names: Sequence[str], status: str, timeout_s: float, *, since: datetime = BEGINNING
    ) -> Notice | None:
        """Wait for the first notice of any of these alerts; ``None`` when none came in time.

        Parameters
        ----------
        names, status
            What is waited for.
        timeout_s
            Longest wait.
        since
            Notices from before this moment do not count.
        """

        def found() -> Notice | None:
            return next(
                (
                    notice
                    for notice in self._notices
                    if notice.name in names
                    and notice.status == status
                    and notice.received_at >= since
                ),
                None,
            )

        with self._came:
            self._came.wait_for(lambda: found() is not None, timeout_s)
            return found()
