"""The monitor's web application: the API, health, metrics, and the schedule behind them."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

from anyio import to_thread
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.responses import JSONResponse, PlainTextResponse, Response

from monitor.errors import FieldwatchError
from monitor.metrics.collector import StoreCollector
from monitor.metrics.jobs import add_build_info
from monitor.services.context import Context
from monitor.services.effect_sizes import EffectSizes
from monitor.services.scrape import read_metrics
from monitor.store.migration import check_current
from monitor.web import (
    api,
    console,
    gate_api,
    reports_api,
    review_api,
    rollouts_api,
    signals_api,
    trial_api,
)
from monitor.web.access import Access
from monitor.web.body_limit import BodyLimit
from monitor.web.errors import respond, respond_unfit
from reference_data.errors import ReferenceDataError

_log = logging.getLogger("fieldwatch.web")


class Background(Protocol):
    """What runs while the application does."""

    def start(self) -> None:
        """Begin; return at once."""

    def stop(self) -> None:
        """End, and wait for what is under way."""


def create_app(context: Context, registry: CollectorRegistry, background: Background) -> FastAPI:
    """Build the application.

    Parameters
    ----------
    context
        What services work with, as `monitor.wiring.make_context` makes it; not closed here.
    registry
        Holds the series of this process; those of the store are added to it.
    background
        The schedule.
    """
    add_build_info(registry, installed_version())
    effects = EffectSizes()
    registry.register(StoreCollector(lambda: read_metrics(context, effects)))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        background.start()
        try:
            yield
        finally:
            await to_thread.run_sync(background.stop)

    # The manual's pages come from here, not from a CDN: a gateway in the field may be offline.
    app = FastAPIOffline(
        static_url="/docs/assets",
        title="Fieldwatch monitor",
        version=installed_version(),
        summary="What the models in the field see, and whether it is what they were trained on.",
        lifespan=lifespan,
        redoc_url=None,
    )
    app.state.context = context
    app.state.registry = registry
    app.add_middleware(BodyLimit)
    app.add_middleware(Access, context=context)
    for family in (FieldwatchError, ReferenceDataError):
        app.add_exception_handler(family, respond)
    app.add_exception_handler(RequestValidationError, respond_unfit)  # type: ignore[arg-type]
    app.include_router(api.router)
    app.include_router(signals_api.router)
    app.include_router(review_api.router)
    app.include_router(rollouts_api.router)
    app.include_router(trial_api.router)
    app.include_router(gate_api.router)
    app.include_router(reports_api.router)
    app.include_router(reports_api.pages)
    app.include_router(console.router)
    app.add_api_route("/metrics", metrics, include_in_schema=False)
    # Load balancers and uptime checks ask with HEAD; the answer's body is left out by the server.
    app.add_api_route("/healthz", healthz, methods=["HEAD"], include_in_schema=False)
    app.add_api_route("/readyz", readyz, methods=["HEAD"], include_in_schema=False)
    app.add_api_route("/healthz", healthz, tags=["health"], summary="Whether the process runs.")
    app.add_api_route(
        "/readyz",
        readyz,
        tags=["health"],
        summary="Whether the state store and the events can be used.",
    )
    return app


def installed_version() -> str:
    """Tell which Fieldwatch runs."""
    try:
        return version("fieldwatch")
    except PackageNotFoundError:
        return "source"


def metrics(request: Request) -> Response:
    """Everything in `dashboards/metrics.md` that the monitor owns."""
    return Response(generate_latest(request.app.state.registry), media_type=CONTENT_TYPE_LATEST)


async def healthz() -> PlainTextResponse:
    """Tell that the process runs; touches nothing."""
    return PlainTextResponse("ok\n")


def readyz(request: Request) -> JSONResponse:
    """Tell whether the state store and the events can be used."""
    context: Context = request.app.state.context
    checks: dict[str, Callable[[], object]] = {
        "store": lambda: check_current(context.engine),
        "events": context.events.count,
    }
    found: dict[str, str] = {}
    for name, check in checks.items():
        try:
            check()
            found[name] = "ok"
        except FieldwatchError as error:
            # Open to anybody, so it names what fails; the log tells why.
            _log.warning("not ready: %s", error)
            found[name] = "failed"
    ready = all(state == "ok" for state in found.values())
    return JSONResponse({"ready": ready, **found}, 200 if ready else 503)
