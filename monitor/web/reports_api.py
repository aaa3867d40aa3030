"""Reports over HTTP, as data and as pages.

A page is Evidently's: it runs scripts of its own. So the browser is told to give it an origin of
its own, without this one's key, and to let it ask nobody for anything.
"""

from pathlib import Path

import msgspec
from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from monitor.services.reports import show
from monitor.web.api import InContext
from monitor.web.manual import describe

router = APIRouter(prefix="/v1/models", tags=["state"])
pages = APIRouter(include_in_schema=False)

_HEADERS = {
    "Content-Security-Policy": "sandbox allow-scripts allow-downloads; default-src 'none'; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # A page is as secret as the key it was asked with.
    "Cache-Control": "private, no-store",
}


@router.get("/{model}/reports", response_class=Response)
def get_reports(context: InContext, model: str) -> Response:
    """What the reports of a model say, the newest first."""
    found = show.entries(context, model)
    return Response(msgspec.json.encode(found), media_type="application/json")


@router.get("/{model}/reports/{report_id}", response_class=FileResponse)
def get_report(context: InContext, model: str, report_id: str) -> FileResponse:
    """The page of a report, or of the ``latest``."""
    return _page(show.page(context, model, report_id))


@pages.get("/models/{model}/report")
def latest(context: InContext, model: str) -> FileResponse:
    """The page of the latest report, for people."""
    return _page(show.page(context, model))


def _page(file: Path) -> FileResponse:
    return FileResponse(file, media_type="text/html", headers=_HEADERS)


describe(router)
