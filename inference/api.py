"""The gateway's HTTP endpoints: parse, predict, render."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TypeVar

from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel

from inference.answers import failure_of, not_found, overloaded, refusal
from inference.body import declared_length, receive
from inference.context import Context
from inference.errors import Cause, Overloaded, Refused
from inference.health import model_readiness, model_state, readiness
from inference.metrics import Ended, Endpoint
from inference.oip import answer_infer, metadata_of, parse_infer, sources_of, subject_of
from inference.openapi import INFER_BODY, REFUSALS, SEALED, UPLOAD_BODY
from inference.predicting import Arrival, Predicted, Target
from inference.schemas import (
    Answer,
    InferAnswer,
    Live,
    ModelMetadata,
    ModelReady,
    ModelStates,
    Ready,
    SealedAnswer,
    ServerMetadata,
)
from inference.upload import FORM_BYTES, Subject, parse_upload, shown
from monitor.store.event import UNKNOWN_MODEL

log = logging.getLogger(__name__)
router = APIRouter()

_PARSED_ELSEWHERE = 256 * 1024
"""Bodies larger than this are parsed by a decoder's thread, so that the others need not wait."""

_T = TypeVar("_T")


@dataclass(slots=True)
class _Asked:
    """What is known of a request so far; a refusal is recorded with it."""

    model: str | None = None
    subject: Subject = field(default_factory=Subject)


@router.post(
    "/predict",
    response_model=Answer,
    responses={**SEALED, **REFUSALS},
    openapi_extra={"requestBody": UPLOAD_BODY},
    summary="Predict one image",
)
async def predict(request: Request) -> Response:
    """Predict one image, tell how unusual it is and who acts, and record it.

    While the model is in shadow the prediction is sealed, and answered with 202.
    """
    context = _context(request)

    async def work(body: bytes, asked: _Asked, begun: Arrival) -> Response:
        upload = parse_upload(request.headers.get("content-type"), body)
        asked.model, asked.subject = upload.model, upload.subject
        target = context.predicting.target(upload.model, upload.subject, begun.at)
        [predicted] = await context.predicting.predict(target, [upload.file], upload.subject, begun)
        if predicted.commitment is not None:
            sealed = _sealed(target, predicted, predicted.commitment, upload.subject)
            return _rendered(sealed, HTTPStatus.ACCEPTED)
        return _rendered(_answer(target, predicted, upload.subject))

    limit = context.options.limits.max_upload_bytes + FORM_BYTES
    return await _respond(request, Endpoint.PREDICT, limit, _Asked(), work)


@router.post(
    "/v2/models/{model}/infer",
    response_model=InferAnswer,
    responses=REFUSALS,
    openapi_extra={"requestBody": INFER_BODY},
    summary="Predict images or tensors (Open Inference Protocol)",
)
async def infer(request: Request, model: str) -> Response:
    """Predict images or prepared tensors; each input is recorded."""
    return await _infer(request, model, None)


@router.post(
    "/v2/models/{model}/versions/{version}/infer",
    response_model=InferAnswer,
    responses=REFUSALS,
    openapi_extra={"requestBody": INFER_BODY},
    summary="Predict with one version (Open Inference Protocol)",
)
async def infer_version(request: Request, model: str, version: str) -> Response:
    """As without the version, which must be the one served."""
    return await _infer(request, model, version)


@router.get("/v2", response_model=ServerMetadata, summary="What this server is")
async def server_metadata(request: Request) -> Response:
    """Name the server, as the Open Inference Protocol asks."""
    return _rendered(ServerMetadata(name="fieldwatch", version=request.app.version, extensions=[]))


@router.get("/v2/health/live", response_model=Live, summary="Whether the process runs")
async def live() -> Response:
    """Touch nothing."""
    return _rendered(Live(live=True))


@router.get("/v2/health/ready", response_model=Ready, summary="Whether requests can be answered")
async def ready(request: Request) -> Response:
    """Say what is missing, with status 503, or that nothing is."""
    found = readiness(_context(request))
    status = HTTPStatus.OK if found.ready else HTTPStatus.SERVICE_UNAVAILABLE
    return _rendered(found, status)


@router.get("/healthz", response_model=Live, summary="Whether the process runs")
async def healthz() -> Response:
    """Touch nothing."""
    return _rendered(Live(live=True))


@router.get("/readyz", response_model=Ready, summary="Whether requests can be answered")
async def readyz(request: Request) -> Response:
    """As ``/v2/health/ready``."""
    return await ready(request)


# Load balancers and uptime checks ask with HEAD; the answer's body is left out by the server.
router.add_api_route("/v2/health/live", live, methods=["HEAD"], include_in_schema=False)
router.add_api_route("/v2/health/ready", ready, methods=["HEAD"], include_in_schema=False)
router.add_api_route("/healthz", healthz, methods=["HEAD"], include_in_schema=False)
router.add_api_route("/readyz", readyz, methods=["HEAD"], include_in_schema=False)


@router.get("/v2/models/{model}", response_model=ModelMetadata, summary="What a model takes")
async def model_metadata(request: Request, model: str) -> Response:
    """Name its inputs and outputs."""
    return _metadata(request, model, None)


@router.get("/v2/models/{model}/versions/{version}", response_model=ModelMetadata)
async def version_metadata(request: Request, model: str, version: str) -> Response:
    """As without the version, which must be the one served."""
    return _metadata(request, model, version)


@router.get("/v2/models/{model}/ready", response_model=ModelReady, summary="Whether it answers")
async def model_ready(request: Request, model: str) -> Response:
    """Say why not, with status 503, or why an earlier bundle does."""
    return _model_ready(request, model, None)


@router.get("/v2/models/{model}/versions/{version}/ready", response_model=ModelReady)
async def version_ready(request: Request, model: str, version: str) -> Response:
    """As without the version, which must be the one served."""
    return _model_ready(request, model, version)


@router.get("/v1/models", response_model=ModelStates, summary="What is routed and what is served")
async def models(request: Request) -> Response:
    """List every routed model, with the reason where its bundle is refused."""
    context = _context(request)
    plan = context.keeper.plan
    routes = {} if plan is None else plan.routes
    states = [model_state(context, snapshot) for _, snapshot in sorted(routes.items())]
    return _rendered(ModelStates(models=states))


@router.get("/metrics", summary="Metrics for Prometheus")
def metrics(request: Request) -> Response:
    """Export metrics; in the OpenMetrics format, exemplars carry event ids."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(_context(request).metrics.registry), media_type=content_type)


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


def _rendered(body: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(body.model_dump_json(), status, media_type="application/json")


async def _respond(
    request: Request,
    endpoint: Endpoint,
    limit: int,
    asked: _Asked,
    work: Callable[[bytes, _Asked, Arrival], Awaitable[Response]],
) -> Response:
    """Receive a body and answer it; whatever goes wrong is recorded, counted and answered."""
    context = _context(request)
    begun = _arrival()
    try:
        with context.budget.hold(declared_length(request, limit)):
            body = await receive(request, limit, context.options.limits.receive_timeout_s)
            begun = _arrival()
            response = await work(body, asked, begun)
        ended = Ended.OK
    except Overloaded as error:
        response, ended = overloaded(error), Ended.OVERLOADED
    except Exception as error:
        failure = failure_of(error)
        if failure.cause is Cause.INTERNAL:
            log.exception("a request failed inside the gateway")
        event_id = context.predicting.record_failure(asked.model, asked.subject, failure, begun)
        response = refusal(failure, event_id)
        ended = Ended.REJECTED if failure.is_rejection else Ended.ERROR
    snapshot = context.predicting.snapshot(asked.model)
    name = UNKNOWN_MODEL if snapshot is None else snapshot.model
    context.metrics.request(name, endpoint, ended, time.monotonic() - begun.monotonic)
    return response


async def _infer(request: Request, model: str, version: str | None) -> Response:
    context = _context(request)
    limits = context.options.limits

    async def work(body: bytes, asked: _Asked, begun: Arrival) -> Response:
        content_type = request.headers.get("content-type")
        parsed = await _elsewhere(context, len(body), lambda: parse_infer(content_type, body))
        asked.subject = subject_of(parsed)
        target = context.predicting.target(model, asked.subject, begun.at)
        _check_version(target.snapshot.model, target.version, version)
        if target.is_sealed:
            raise Refused(
                Cause.SEALED,
                f"predictions of {target.snapshot.model} are sealed while it is in shadow, and "
                "this protocol has no sealed answer. POST /predict takes one image at a time.",
            )
        sources = await _elsewhere(
            context,
            len(body),
            lambda: sources_of(parsed, target.served.bundle, limits.max_infer_items),
        )
        predicted = await context.predicting.predict(target, sources, asked.subject, begun)
        return _rendered(answer_infer(parsed, target, predicted))

    asked = _Asked(model=model)
    return await _respond(request, Endpoint.INFER, limits.max_infer_bytes, asked, work)


async def _elsewhere(context: Context, size: int, parse: Callable[[], _T]) -> _T:
    if size <= _PARSED_ELSEWHERE:
        return parse()
    return await asyncio.get_running_loop().run_in_executor(context.decoders, parse)


def _answer(target: Target, predicted: Predicted, subject: Subject) -> Answer:
    scored = predicted.judged.scored
    vocab = target.served.bundle.manifest.vocab
    return Answer(
        event_id=predicted.event_id,
        model=target.snapshot.model,
        version=target.version,
        prediction=scored.prediction,
        confidence=scored.confidence,
        probabilities=dict(zip(vocab, scored.probabilities.tolist(), strict=True)),
        p_value=scored.p_value,
        p_semantic=scored.p_semantic,
        p_domain=scored.p_domain,
        flagged=scored.flagged,
        actor=predicted.actor,
        reason=predicted.reason,
        action=predicted.action,
        case_id=subject.case_id,
    )


def _sealed(
    target: Target, predicted: Predicted, commitment: str, subject: Subject
) -> SealedAnswer:
    return SealedAnswer(
        event_id=predicted.event_id,
        model=target.snapshot.model,
        version=target.version,
        commitment=commitment,
        actor=predicted.actor,
        reason=predicted.reason,
        case_id=subject.case_id,
    )


def _check_version(model: str, served: str, wanted: str | None) -> None:
    if wanted is not None and wanted != served:
        raise Refused(
            Cause.UNKNOWN_MODEL,
            f"{model} is served in version {served}, not {shown(wanted)}; leave the version out",
        )


def _metadata(request: Request, model: str, version: str | None) -> Response:
    try:
        target = _context(request).predicting.target(model)
        _check_version(model, target.version, version)
    except Exception as error:  # noqa: BLE001 - the table of answers knows what to say
        return refusal(failure_of(error), None)
    return _rendered(metadata_of(target.served.bundle))


def _model_ready(request: Request, model: str, version: str | None) -> Response:
    context = _context(request)
    snapshot = context.predicting.snapshot(model)
    if snapshot is None:
        return not_found(f"there is no model {shown(model)}. GET /v1/models lists those served.")
    found = model_readiness(context, snapshot)
    served = context.models.served.get(model)
    if served is not None:
        try:
            _check_version(model, served.bundle.manifest.version, version)
        except Refused as error:
            return not_found(str(error))
    status = HTTPStatus.OK if found.ready else HTTPStatus.SERVICE_UNAVAILABLE
    return _rendered(found, status)


def _arrival() -> Arrival:
    return Arrival(datetime.now(UTC), time.monotonic())
