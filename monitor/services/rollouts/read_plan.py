"""Read a rollout's plan from its file."""

import json
from pathlib import Path

from monitor.errors import PlanInvalid, PlanUnreadable
from monitor.rollouts.plan import RolloutPlan
from monitor.rollouts.plan_file import plan_from, read_plan
from monitor.rollouts.plan_text import Syntax
from monitor.rollouts.remark import Remark

LARGEST = 128 * 1024
"""Bytes; a plan has some thousand."""

_SYNTAXES = {".yaml": Syntax.YAML, ".yml": Syntax.YAML, ".toml": Syntax.TOML}


def read_plan_data(data: dict[str, object]) -> RolloutPlan:
    """Read a plan from the data of a JSON request, under the bounds of a file.

    Raises
    ------
    PlanInvalid
        It is too large, or no plan; every fault is named at once.
    """
    if len(json.dumps(data)) > LARGEST:
        cause = f"is larger than {LARGEST // 1024} KiB"
        way_out = "`fieldwatch rollout example` prints one, of some thousand bytes."
        raise PlanInvalid((Remark(place="the plan", cause=cause, way_out=way_out),))
    return plan_from(data)


def read_plan_file(path: Path) -> RolloutPlan:
    """Read a plan from a YAML or TOML file.

    Raises
    ------
    PlanUnreadable
        It is no such file, too large, or no text.
    PlanInvalid
        It is no plan; every fault is named at once.
    """
    syntax = _SYNTAXES.get(path.suffix.lower())
    if syntax is None:
        raise PlanUnreadable(path, f"its name ends in {path.suffix or 'nothing'!r}")
    try:
        with path.open("rb") as file:
            # One byte more than allowed: enough to know, however long the file or device is.
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise PlanUnreadable(path, str(error.strerror)) from error
    if len(content) > LARGEST:
        raise PlanUnreadable(path, f"it is larger than {LARGEST // 1024} KiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PlanUnreadable(path, f"byte {error.start + 1} is no UTF-8") from error
    try:
        return read_plan(text, syntax)
    except PlanInvalid as error:
        raise PlanInvalid(error.faults, str(path)) from error
