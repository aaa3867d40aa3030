"""From what went wrong to a status and a body: the only table of HTTP statuses of the gateway."""

from dataclasses import dataclass
from http import HTTPStatus

from starlette.responses import Response

from inference.errors import Cause, ModelNotReady, Overloaded, Refused, ScoringFailed
from inference.schemas import Refusal
from reference_data.errors import InputRejected

STATUSES = {
    Cause.NOT_AN_IMAGE: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Cause.TRUNCATED: HTTPStatus.UNPROCESSABLE_ENTITY,
    Cause.EMPTY: HTTPStatus.UNPROCESSABLE_ENTITY,
    Cause.TOO_MANY_BYTES: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Cause.TOO_MANY_PIXELS: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Cause.ZERO_SIZE: HTTPStatus.UNPROCESSABLE_ENTITY,
    Cause.ANIMATED: HTTPStatus.UNPROCESSABLE_ENTITY,
    Cause.UNTRAINED_MODE: HTTPStatus.UNPROCESSABLE_ENTITY,
    Cause.WRONG_SHAPE: HTTPStatus.UNPROCESSABLE_ENTITY,
    Cause.WRONG_DTYPE: HTTPStatus.UNPROCESSABLE_ENTITY,
    Cause.NOT_FINITE: HTTPStatus.UNPROCESSABLE_ENTITY,
    Cause.UNKNOWN_MODEL: HTTPStatus.NOT_FOUND,
    Cause.UNKNOWN_FIELD: HTTPStatus.BAD_REQUEST,
    Cause.MALFORMED: HTTPStatus.BAD_REQUEST,
    Cause.SEALED: HTTPStatus.CONFLICT,
    Cause.MISSING_FIELD: HTTPStatus.BAD_REQUEST,
    Cause.BAD_VALUE: HTTPStatus.UNPROCESSABLE_ENTITY,
    Cause.UNSUPPORTED_MEDIA_TYPE: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Cause.TOO_SLOW: HTTPStatus.REQUEST_TIMEOUT,
    Cause.DISCONNECTED: HTTPStatus.BAD_REQUEST,
    Cause.NOT_READY: HTTPStatus.SERVICE_UNAVAILABLE,
    Cause.SCORING_FAILED: HTTPStatus.INTERNAL_SERVER_ERROR,
    Cause.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """A request without a prediction, as it is recorded and answered."""

    cause: Cause
    status: HTTPStatus
    detail: str

    @property
    def is_rejection(self) -> bool:
        """Whether the request was at fault, and not this server."""
        return self.status < HTTPStatus.INTERNAL_SERVER_ERROR


def failure_of(error: Exception) -> Failure:
    """Tell what a request is answered that ended in this error; `Overloaded` is none of them."""
    match error:
        case InputRejected(cause=cause):
            return _failure(Cause(cause.value), str(error))
        case ScoringFailed(cause=cause):
            # Here the outputs are not finite, and the input was not to blame.
            return Failure(cause, HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
        case Refused(cause=cause):
            return _failure(cause, str(error))
        case ModelNotReady():
            return _failure(Cause.NOT_READY, str(error))
        case _:
            # What went wrong inside is for the log, not for a client.
            return _failure(Cause.INTERNAL, "the gateway failed; its log says why")


def refusal(failure: Failure, event_id: str | None) -> Response:
    """Answer a request that was recorded as rejected or failed."""
    return _json(
        Refusal(error=failure.cause, detail=failure.detail, event_id=event_id), failure.status
    )


def overloaded(error: Overloaded) -> Response:
    """Answer a request that came when too much was waiting."""
    response = _json(Refusal(error="overloaded", detail=str(error)), HTTPStatus.TOO_MANY_REQUESTS)
    response.headers["retry-after"] = str(error.retry_after_s)
    return response


def turned_away(status: HTTPStatus, sentence: str) -> Response:
    """Answer a request without a key that may do this."""
    known = status is HTTPStatus.FORBIDDEN
    body = Refusal(error="forbidden" if known else "unauthorized", detail=sentence)
    response = _json(body, status)
    if not known:
        # Basic first: it is what makes a browser ask for the key.
        response.headers["www-authenticate"] = 'Basic realm="fieldwatch", Bearer realm="fieldwatch"'
    return response


def not_found(sentence: str) -> Response:
    """Answer a request for something that is not there."""
    return _json(Refusal(error="not_found", detail=sentence), HTTPStatus.NOT_FOUND)


def _failure(cause: Cause, detail: str) -> Failure:
    return Failure(cause, STATUSES[cause], detail)


def _json(body: Refusal, status: HTTPStatus) -> Response:
    return Response(body.model_dump_json(exclude_none=True), status, media_type="application/json")
