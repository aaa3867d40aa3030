"""The monitor's web application: the API, health, metrics, and the schedule behind them."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI, Request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.responses import JSONResponse, PlainTextResponse, Response

from monitor.errors import FieldwatchError
from monitor.jobs import Ticker
from monitor.metrics import JobMetrics, StoreCollector, add_build_info
from monitor.services.context import Context
from monitor.services.status import read_metrics
from monitor.store.migration import check_current
from monitor.web import api
from monitor.web.access import Access
from monitor.web.errors import respond
from reference_data.errors import ReferenceDataError

_log = logging.getLogger("fieldwatch.web")


def create_app(context: Context) -> FastAPI:
    """Build the application; its schedule runs while it does.

    Parameters
    ----------
    context
        What services work with, as `monitor.wiring.make_context` makes it; not closed here.
    """
    registry = CollectorRegistry()
    add_build_info(registry, installed_version())
    registry.register(StoreCollector(lambda: read_metrics(context)))
    ticker = Ticker(context, JobMetrics(registry))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        ticker.start()
        try:
            yield
        finally:
            ticker.stop()

    app = FastAPI(
        title="Fieldwatch monitor",
        version=installed_version(),
        summary="What the models in the field see, and whether it is what they were trained on.",
        lifespan=lifespan,
        redoc_url=None,
    )
    app.state.context = context
    app.state.registry = registry
    app.add_middleware(Access, context=context)
    for family in (FieldwatchError, ReferenceDataError):
        app.add_exception_handler(family, respond)
    app.include_router(api.router)
    app.add_api_route("/metrics", metrics, include_in_schema=False)
    app.add_api_route("/healthz", healthz, tags=["health"])
    app.add_api_route("/readyz", readyz, tags=["health"])
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
