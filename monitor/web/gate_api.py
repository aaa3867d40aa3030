"""What the gates of rollouts say, over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query

from monitor.services.gates.show import GateReport, show_gates
from monitor.web.api import InContext
from monitor.web.manual import describe

router = APIRouter(prefix="/v1/rollouts", tags=["rollouts"])


@router.get("/{name}/gates")
def get_gates(
    context: InContext,
    name: str,
    attempt: Annotated[int | None, Query(ge=1, description="The last one when absent.")] = None,
    history: Annotated[bool, Query(description="All they ever said.")] = False,
) -> GateReport:
    """What each gate of a rollout's present step says, and why."""
    return show_gates(context, name, attempt=attempt, history=history)


describe(router)
