"""`fieldwatch rollout …`: the commands that start, show and move one."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from monitor.command_line.dispatch import run
from monitor.command_line.options import Config, Json, Reason

Name = Annotated[str, typer.Argument(help="Name of the rollout, as its plan has it.")]
PlanFile = Annotated[Path, typer.Argument(help="The plan: a YAML or TOML file.")]


class Held(StrEnum):
    """What a rollout may be on hold for."""

    OPERATOR = "operator"
    GATE = "gate"
    EARLY = "early"
    INCONCLUSIVE = "inconclusive"
    METRIC_SOURCE = "metric_source"
    UNSUPERVISED = "unsupervised"
    KILLED = "killed"


def start(
    file: PlanFile,
    reason: Reason,
    supersede: Annotated[
        bool, typer.Option("--supersede", help="End the model's rollout that is under way.")
    ] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Start a rollout, in shadow. Whoever starts it, and the plan's author, cannot approve it."""
    run("rollout_start", **locals())


def retry(
    name: Name,
    reason: Reason,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="Another plan; else the one before.")
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Begin another attempt, in shadow: with another version, plan, or new human decisions."""
    run("rollout_retry", **locals())


def list_rollouts(
    everything: Annotated[bool, typer.Option("--all", help="Earlier attempts too.")] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """List rollouts, the newest first."""
    run("rollout_list", **locals())


def show(
    name: Name,
    attempt: Annotated[
        int | None, typer.Option("--attempt", min=1, help="Else the last one.")
    ] = None,
    replay: Annotated[
        bool,
        typer.Option(
            "--replay",
            help="Reproduce every transition from the log; exit 1 where anything does not agree.",
        ),
    ] = False,
    dossier: Annotated[
        Path | None,
        typer.Option("--dossier", help="Write the evidence for going on or not to this page."),
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show where a rollout stands, since when, and what it waits for."""
    run("rollout_show", **locals())


def approve(
    name: Name,
    evidence: Annotated[
        str, typer.Option("--evidence", help="Hash of what you looked at, as `show` gives it.")
    ],
    reason: Reason,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Say yes to the next step, with a key of your own (FIELDWATCH_KEY); no author can."""
    run("rollout_order", order="approve", **locals())


def hold(name: Name, reason: Reason, as_json: Json = False, config: Config = None) -> None:
    """Stop it where it is: the share stays, gates go on, nothing advances."""
    run("rollout_order", order="hold", **locals())


def resume(
    name: Name,
    reason: Reason,
    which: Annotated[
        Held | None, typer.Option("--hold", help="Which hold, when there are several.")
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Take one hold away; the others stay."""
    run("rollout_order", order="resume", **locals())


def advance(
    name: Name,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Override inconclusive gates; never a failure, an error or a kill."
        ),
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why it is forced.")] = "",
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Look now, as the monitor does every few seconds; with --force, go on without a verdict."""
    run("rollout_order", order="force" if force else "look", **_but(locals(), "force"))


def step_down(name: Name, reason: Reason, as_json: Json = False, config: Config = None) -> None:
    """Go one step back, to be measured there anew."""
    run("rollout_order", order="step_down", **locals())


def rollback(name: Name, reason: Reason, as_json: Json = False, config: Config = None) -> None:
    """End it: humans act, or the version before; the candidate goes on in shadow."""
    run("rollout_order", order="rollback", **locals())


def abort(name: Name, reason: Reason, as_json: Json = False, config: Config = None) -> None:
    """End it and switch the candidate off; after a rollback, only the latter."""
    run("rollout_order", order="abort", **locals())


def heartbeat(
    name: Name,
    every: Annotated[
        float | None,
        typer.Option("--every", min=1.0, help="Say it again every so many seconds, until Ctrl-C."),
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Say that you are watching, with a key of your own: without a word, humans act."""
    run("rollout_heartbeat", **locals())


def _but(arguments: dict[str, object], name: str) -> dict[str, object]:
    return {key: value for key, value in arguments.items() if key != name}


COMMANDS: dict[str, Callable[..., None]] = {
    "start": start,
    "list": list_rollouts,
    "show": show,
    "approve": approve,
    "hold": hold,
    "resume": resume,
    "advance": advance,
    "step-down": step_down,
    "rollback": rollback,
    "abort": abort,
    "retry": retry,
    "heartbeat": heartbeat,
}
"""By the name they are called by."""
