"""The composition root: where settings become the things services work with."""

import faulthandler
import logging
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.errors import NotFound
from monitor.services.context import Context
from monitor.services.references import References
from monitor.settings import MonitorSettings
from monitor.store.bootstrap import LOOPBACK, ensure_admin_key
from monitor.store.engine import connect
from monitor.store.events import EventLog
from monitor.store.migration import check_current, migrate
from monitor.store.settings import StoreSettings, load_settings

if TYPE_CHECKING:
    from fastapi import FastAPI


def make_context(settings: MonitorSettings) -> Context:
    """Make the per-process singletons; nothing is connected before its first use."""
    store = settings.store
    return Context(
        settings=settings,
        engine=connect(store),
        events=EventLog(store.events, store.storage_options),
        references=References(),
        owner=f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}",
        clock=lambda: datetime.now(UTC),
    )


@contextmanager
def open_store(config: Path | None) -> Iterator[Context]:
    """Open the installation for a command, and close it afterwards.

    Raises
    ------
    NotFound
        If there is no installation.
    StaleSchema
        If the state store is older than this program.
    """
    settings = load_settings(MonitorSettings, config)
    require_installation(settings.store)
    context = make_context(settings)
    try:
        check_current(context.engine)
        yield context
    finally:
        context.engine.dispose()


def require_installation(store: StoreSettings) -> None:
    """Make sure there is an installation: a command that looks must not make one.

    Raises
    ------
    NotFound
        If there is none.
    """
    if store.database_url is None and not (store.home / "state.db").exists():
        way_out = "`fieldwatch up` or `fieldwatch import` makes one; FIELDWATCH_HOME names another."
        raise NotFound("installation in", str(store.home), way_out)


def ready_store(context: Context) -> None:
    """Make sure the state store is the one this program was written for.

    A database file in the home folder belongs to this machine and is upgraded here. One by URL is
    upgraded by its owner, with `fieldwatch db upgrade`, when all processes are ready for it.

    Raises
    ------
    StaleSchema
        If a database by URL is older than this program.
    """
    if context.settings.store.database_url is None:
        migrate(context.engine)
    check_current(context.engine)


def make_app(context: Context) -> "FastAPI":
    """Put the monitor together: its API, its metrics and its schedule."""
    # Commands that only look at the store need none of this.
    from prometheus_client import CollectorRegistry

    from monitor.jobs import Ticker
    from monitor.metrics.jobs import JobMetrics
    from monitor.web.app import create_app

    registry = CollectorRegistry()
    return create_app(context, registry, Ticker(context, JobMetrics(registry)))


def serve(settings: MonitorSettings) -> None:
    """Run the monitor until a signal: its schedule in threads, its API in front.

    Raises
    ------
    StaleSchema
        If the state store is older than this program and not ours alone to upgrade.
    """
    import uvicorn

    # A fault in a native library leaves a trace in the log, not silence.
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # Each would write several lines a second of nothing.
    for chatty in ("apscheduler", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    options = settings.monitor
    context = make_context(settings)
    ready_store(context)
    if options.host in LOOPBACK:
        ensure_admin_key(context.engine, settings.store.home, context.clock())
    try:
        uvicorn.run(
            make_app(context),
            host=options.host,
            port=options.port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=5,
        )
    finally:
        context.engine.dispose()
