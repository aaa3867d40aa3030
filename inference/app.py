"""The composition root: builds a gateway from its settings, opens and closes everything."""

import asyncio
import contextlib
import ctypes
import logging
import os
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi_offline import FastAPIOffline
from prometheus_client import CollectorRegistry, disable_created_metrics
from starlette.exceptions import HTTPException

from inference.access import Access
from inference.actions import Actions
from inference.answers import not_found
from inference.api import router
from inference.body import BodyBudget
from inference.context import Context
from inference.engine import Engine, ForwardPath
from inference.episodes import Episodes
from inference.metrics import Metrics, package_version
from inference.models import Models
from inference.openapi import document
from inference.pictures import KeepRules, PictureKeeper
from inference.plan import PlanKeeper, StorePlans
from inference.predicting import Predicting, seal
from inference.recorder import Counts, Recorder, RecorderOptions
from inference.settings import EngineOptions, GatewaySettings
from inference.shadows import Shadows
from inference.spool import Spool
from inference.upkeep import Upkeep
from monitor.errors import FieldwatchError
from monitor.store.bootstrap import LOOPBACK, ensure_admin_key
from monitor.store.engine import connect
from monitor.store.events import EventLog
from monitor.store.payloads import Payloads
from reference_data.bundle import Bundle
from reference_data.preprocess import DecodeLimits
from reference_data.scoring import Scorer

log = logging.getLogger(__name__)

PICTURES_S = 2.0
"""Time that pictures still to be kept get at shutdown, after the records."""
_NOTHING = Counts(accepted=0, durable=0, sampled_out=0, lost=0, spool_events=0, spool_bytes=0)


def create_app(settings: GatewaySettings) -> FastAPI:
    """Build the application. Nothing is opened before it is started."""
    # Every counter would export a second series with its birthday.
    disable_created_metrics()  # type: ignore[no-untyped-call]

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running(settings) as context:
            app.state.context = context
            yield

    # The manual's pages come from here, not from a CDN: a gateway in the field may be offline.
    app = FastAPIOffline(
        static_url="/docs/assets",
        title="Fieldwatch gateway",
        summary="Predicts, tells how unusual an input is and who acts, and records every answer.",
        version=package_version(),
        lifespan=lifespan,
        redoc_url=None,
    )
    app.include_router(router)
    app.add_middleware(Access)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.openapi = partial(document, app)  # type: ignore[method-assign]
    return app


@contextlib.asynccontextmanager
async def running(settings: GatewaySettings) -> AsyncIterator[Context]:
    """Open everything a gateway needs, and close it in the order that loses nothing.

    Raises
    ------
    SpoolInUse
        Another gateway with this id runs on this machine.
    OSError
        The spool cannot be written.
    """
    options, store = settings.gateway, settings.store
    cores = len(os.sched_getaffinity(0))
    metrics = Metrics(CollectorRegistry())
    engine = connect(store)
    keeper = PlanKeeper(StorePlans(engine), store.kill_file, every_s=options.poll_every_s)
    decoders = ThreadPoolExecutor(options.engine.decoders or cores, thread_name_prefix="decode")
    recorder = _recorder(settings)
    pictures = _pictures(settings)
    shadows = Shadows(recorder, _decode_limits(settings), seal)
    models = Models(
        home=store.home,
        open_bundle=partial(_open_bundle, options=options.engine),
        make_engine=partial(_make_engine, settings, metrics, decoders, asyncio.get_running_loop()),
        loop=asyncio.get_running_loop(),
    )
    actions = Actions(engine)
    upkeep = Upkeep(
        engine=engine,
        keeper=keeper,
        models=models,
        actions=actions,
        gateway_id=options.name,
        url=options.address,
        every_s=options.poll_every_s,
    )
    metrics.watch(
        counts=recorder.counts if recorder is not None else lambda: _NOTHING,
        plan_age_s=keeper.age_s,
        queue_lengths=lambda: {
            model: sum(each.engine.waiting for each in models.all_served(model))
            for model in {*models.served, *models.incumbents}
        },
        ready=lambda: _readiness(keeper, models),
        pictures=pictures.counts,
        shadows=shadows.counts,
    )
    context = Context(
        options=options,
        keeper=keeper,
        models=models,
        recorder=recorder,
        predicting=Predicting(
            keeper=keeper,
            models=models,
            recorder=recorder,
            pictures=pictures,
            episodes=Episodes(),
            actions=actions,
            shadows=shadows,
            metrics=metrics,
            monotonic=time.monotonic,
        ),
        metrics=metrics,
        budget=BodyBudget(options.limits.max_body_bytes_waiting),
        decoders=decoders,
    )
    if recorder is not None:
        recorder.start()
    pictures.start()
    shadows.start()
    if options.host in LOOPBACK:
        # Before the plan is first read, so that whoever finds the key can use it at once.
        with contextlib.suppress(FieldwatchError):
            await asyncio.to_thread(ensure_admin_key, engine, store.home, datetime.now(UTC))
    await asyncio.to_thread(keeper.start)
    upkeep.start()
    try:
        yield context
    finally:
        await asyncio.to_thread(upkeep.close)
        await asyncio.to_thread(models.close)
        await asyncio.to_thread(shadows.close)
        await asyncio.to_thread(actions.close)
        if recorder is not None:
            await asyncio.to_thread(recorder.close, options.shutdown_s)
        await asyncio.to_thread(pictures.close, min(PICTURES_S, options.shutdown_s))
        keeper.close()
        decoders.shutdown(wait=False, cancel_futures=True)
        engine.dispose()


def _recorder(settings: GatewaySettings) -> Recorder | None:
    options, store = settings.gateway, settings.store
    if not options.recording:
        log.warning("recording is switched off: nothing that is answered will be known")
        return None
    spool = Spool.open(
        store.spool / options.name,
        name=options.name,
        segment_bytes=min(options.spool.segment_bytes, options.spool.max_bytes // 8),
    )
    return Recorder(
        spool,
        EventLog(store.events, store.storage_options),
        RecorderOptions(
            max_events=options.spool.max_events,
            max_bytes=options.spool.max_bytes,
            sync_every_s=options.spool.sync_every_s,
            send_every_s=options.spool.send_every_s,
            send_every_events=options.spool.send_every_events,
        ),
    )


def _pictures(settings: GatewaySettings) -> PictureKeeper:
    keep = settings.gateway.keep
    return PictureKeeper(
        Payloads(settings.store.payloads),
        KeepRules(
            flagged=keep.flagged,
            share=keep.share,
            sealed_share=keep.sealed_share,
            longest_side=keep.longest_side,
            limits=_decode_limits(settings),
        ),
    )


def _decode_limits(settings: GatewaySettings) -> DecodeLimits:
    limits = settings.gateway.limits
    return DecodeLimits(max_bytes=limits.max_upload_bytes, max_pixels=limits.max_pixels)


def _open_bundle(bundle: Bundle, *, options: EngineOptions) -> Scorer:
    scorer = Scorer.open(bundle, threads=options.threads, several=options.workers > 1)
    # Optimising the graph leaves 30 MB that the C library would keep for itself.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    return scorer


def _make_engine(
    settings: GatewaySettings,
    metrics: Metrics,
    decoders: ThreadPoolExecutor,
    loop: asyncio.AbstractEventLoop,
    model: str,
    forward_path: ForwardPath,
) -> Engine:
    options = settings.gateway
    metrics.serve(model)
    return Engine(
        model,
        forward_path,
        decoders,
        limits=_decode_limits(settings),
        max_batch=options.engine.max_batch,
        max_waiting=options.limits.max_waiting,
        workers=options.engine.workers,
        loop=loop,
        on_batch=partial(metrics.batch, model),
    )


def _readiness(keeper: PlanKeeper, models: Models) -> dict[str, bool]:
    plan = keeper.plan
    routes = {} if plan is None else plan.routes
    return {model: models.is_current(snapshot) for model, snapshot in routes.items()}


async def _answer_http_exception(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return not_found("there is nothing at this address. GET /docs lists what there is.")
    return Response(error.detail, error.status_code, headers=error.headers)
