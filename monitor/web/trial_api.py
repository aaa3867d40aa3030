"""The shadow trial over HTTP."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Response

from monitor.services.trial.dossier import compile_dossier
from monitor.services.trial.report import TrialReport
from monitor.services.trial.show import show_trial
from monitor.web.api import InContext
from monitor.web.manual import describe

router = APIRouter(prefix="/v1/rollouts", tags=["rollouts"])


@router.get("/{name}/trial")
def get_trial(
    context: InContext,
    name: str,
    attempt: Annotated[int | None, Query(ge=1, description="The last one when absent.")] = None,
) -> TrialReport:
    """Model and people side by side: agreement, errors, costs, actions, disagreements."""
    return show_trial(context, name, attempt=attempt)


@router.get("/{name}/dossier", response_class=Response)
def get_dossier(
    context: InContext,
    name: str,
    attempt: Annotated[int | None, Query(ge=1, description="The last one when absent.")] = None,
) -> Response:
    """The evidence for a go/no-go decision, as data."""
    found = compile_dossier(context, name, attempt=attempt)
    # A plan is a tagged struct, which FastAPI cannot write.
    return Response(msgspec.json.encode(found, enc_hook=str), media_type="application/json")


describe(router)
