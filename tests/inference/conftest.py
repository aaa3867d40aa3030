"""A real gateway on a loopback port, in a thread, serving a tiny bundle."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from inference.app import create_app
from inference.context import Context
from inference.protocol import BoundedHttp
from inference.settings import GatewayOptions, GatewaySettings, LimitOptions, SpoolOptions
from monitor.domain import Role
from monitor.store.event import ARROW_SCHEMA
from monitor.store.events import EventLog
from reference_data.bundle import Bundle
from tests.inference.tiny_model import Installation, install, make_bundle

LIMITS = LimitOptions(
    max_upload_bytes=200_000, max_pixels=1_000_000, max_infer_bytes=300_000, max_infer_items=8
)


STRANGER = httpx.Client(
    verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    limits=httpx.Limits(max_keepalive_connections=0),
    timeout=20,
)
"""A client without a key. `httpx.get` would read the authorities of TLS anew for each request."""


@dataclass(frozen=True)
class Gateway:
    """A running gateway and the installation it belongs to."""

    url: str
    app: FastAPI
    installation: Installation
    bundle: Bundle
    client: httpx.Client
    """With a service key."""

    @property
    def context(self) -> Context:
        context: Context = self.app.state.context
        return context

    def event(self, event_id: str) -> dict[str, Any]:
        """Wait until an event is durable; return it."""
        log = EventLog(self.installation.store.events)
        found: list[dict[str, Any]] = []

        def arrived() -> bool:
            found[:] = log.by_ids([event_id], ARROW_SCHEMA.names).to_pylist()
            return bool(found)

        wait_for(arrived)
        return found[0]


def wait_for(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    """Wait until it holds, or fail."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {timeout_s} s"
        time.sleep(0.01)


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(home: Path, **options: Any) -> Iterator[Gateway]:
    """Run a gateway for the length of the block."""
    installation = install(home)
    bundle = make_bundle(home / "bundles")
    installation.serve(bundle)
    port = free_port()
    chosen: dict[str, Any] = {
        "port": port,
        "id": "gw",
        "poll_every_s": 0.05,
        "limits": LIMITS,
        "spool": SpoolOptions(send_every_s=0.05, sync_every_s=0.01),
        "shutdown_s": 5.0,
    }
    settings = GatewaySettings(
        store=installation.store, gateway=GatewayOptions(**{**chosen, **options})
    )
    app = create_app(settings)
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, log_config=None, http=BoundedHttp, access_log=False)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{port}"
    key = {"Authorization": f"Bearer {installation.tokens[Role.SERVICE]}"}
    try:
        wait_for(lambda: server.started)
        wait_for(lambda: STRANGER.get(f"{url}/readyz").status_code == 200)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with httpx.Client(base_url=url, headers=key, timeout=20, verify=tls) as client:
            yield Gateway(url, app, installation, bundle, client)
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Run one gateway for all tests of a module."""
    with serving(tmp_path_factory.mktemp("home")) as running:
        yield running
