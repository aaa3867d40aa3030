"""Which status an error of ours is answered with. Domain errors know no HTTP; this table does."""

from http import HTTPStatus

from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse

from monitor import errors
from reference_data.errors import ReferenceDataError

STATUSES: dict[type[Exception], HTTPStatus] = {
    errors.FieldwatchError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.SettingsInvalid: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.DocumentTooNew: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.DocumentUnreadable: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.TimeNotAware: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.StoreError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.StoreUnreachable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.StaleSchema: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.SchemaTooNew: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.ValueUnstorable: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.ConstraintBroken: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.EpochConflict: HTTPStatus.CONFLICT,
    errors.StreamConflict: HTTPStatus.CONFLICT,
    errors.CursorConflict: HTTPStatus.CONFLICT,
    errors.AlarmConflict: HTTPStatus.CONFLICT,
    errors.BudgetConflict: HTTPStatus.CONFLICT,
    errors.GateConflict: HTTPStatus.CONFLICT,
    errors.RolloutConflict: HTTPStatus.CONFLICT,
    errors.LeaseLost: HTTPStatus.CONFLICT,
    errors.KeyReused: HTTPStatus.CONFLICT,
    errors.BodyTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.StaleLease: HTTPStatus.CONFLICT,
    errors.BundleUntrusted: HTTPStatus.CONFLICT,
    errors.KeyUnknown: HTTPStatus.NOT_FOUND,
    errors.LastAdminKey: HTTPStatus.CONFLICT,
    errors.KeyFileUnusable: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.EventsError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.EventsUnreachable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.BatchInvalid: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.AccessDenied: HTTPStatus.FORBIDDEN,
    errors.OptionInvalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.HomeUnusable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.RolloutActive: HTTPStatus.CONFLICT,
    errors.RolloutRefused: HTTPStatus.CONFLICT,
    errors.ApprovalRefused: HTTPStatus.CONFLICT,
    errors.PlanChanged: HTTPStatus.CONFLICT,
    errors.PersonNeeded: HTTPStatus.FORBIDDEN,
    errors.SecondPersonNeeded: HTTPStatus.FORBIDDEN,
    errors.AlarmResolved: HTTPStatus.CONFLICT,
    errors.SignalResolved: HTTPStatus.CONFLICT,
    errors.EventSealed: HTTPStatus.CONFLICT,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.AmbiguousId: HTTPStatus.CONFLICT,
    errors.DecisionsUnreadable: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.PlanUnreadable: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.PlanInvalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.AnswerRefused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.DrillRefused: HTTPStatus.CONFLICT,
    errors.ReportFailed: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.ReportsUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.NotDelivered: HTTPStatus.BAD_GATEWAY,
    errors.NotificationInvalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.AlertmanagerUnreachable: HTTPStatus.BAD_GATEWAY,
    errors.AlertmanagerRefused: HTTPStatus.BAD_GATEWAY,
    errors.DemoFailed: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.ClientError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.NoKey: HTTPStatus.UNAUTHORIZED,
    errors.NothingToSend: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.GatewayUnreachable: HTTPStatus.BAD_GATEWAY,
    errors.GatewayRefused: HTTPStatus.BAD_GATEWAY,
    errors.PortTaken: HTTPStatus.CONFLICT,
    errors.ProcessEnded: HTTPStatus.INTERNAL_SERVER_ERROR,
    ReferenceDataError: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""Every error of `monitor.errors`, and the family of `reference_data.errors`."""

CHALLENGES = (b'Basic realm="fieldwatch", charset="UTF-8"', b"Bearer")
"""What a request without a key is told it may carry; a browser asks for a password."""


def status_of(error: Exception) -> HTTPStatus:
    """Look an error's status up, by its class or the nearest one above it."""
    if isinstance(error, errors.AccessDenied) and not error.known:
        return HTTPStatus.UNAUTHORIZED
    for kind in type(error).__mro__:
        if kind in STATUSES:
            return STATUSES[kind]
    return HTTPStatus.INTERNAL_SERVER_ERROR


def respond(_: Request, error: Exception) -> JSONResponse:
    """Answer with the error's sentence."""
    status = status_of(error)
    response = JSONResponse({"error": errors.code_of(error), "detail": _plain(str(error))}, status)
    if status is HTTPStatus.UNAUTHORIZED:
        response.raw_headers.extend((b"www-authenticate", challenge) for challenge in CHALLENGES)
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = "5"
    return response


def respond_unfit(_: Request, error: RequestValidationError) -> JSONResponse:
    """Say what a request lacks or has too much of, without repeating what it held.

    What it held may be a megabyte, a secret, or NaN, which no JSON can carry.
    """
    faults = [
        {
            "type": each["type"],
            "loc": [part if isinstance(part, int) else _plain(part) for part in each["loc"]],
            "msg": _plain(each["msg"]),
        }
        for each in error.errors()
    ]
    content = {"error": "request_unfit", "detail": faults}
    return JSONResponse(content, HTTPStatus.UNPROCESSABLE_ENTITY)


def _plain(text: str) -> str:
    """Write out what UTF-8 cannot carry: halves of a pair of surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()
