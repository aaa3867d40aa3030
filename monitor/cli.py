"""The command line: names, options and exit codes.

Every command is one module of `monitor.commands`, imported when it runs, so that `--help` answers
at once. Exit codes: 0 done, 1 a fault that the message explains, 2 the command line or the settings
are wrong. Faults are one line on stderr; `--debug` shows where they came from.
"""

import importlib
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="fieldwatch",
    help="Serve a fastai model, watch what it sees, and learn in time when it is out of its depth.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
keys = typer.Typer(help="Make, list and revoke the keys every request needs.", no_args_is_help=True)
db = typer.Typer(help="Look after the state store.", no_args_is_help=True)
events = typer.Typer(help="List recorded events, or show one beside its nearest training items.")
alarms = typer.Typer(help="List alarms, or show one with its evidence.", no_args_is_help=True)
decisions = typer.Typer(help="Take in what humans decided.", no_args_is_help=True)
rollout = typer.Typer(help="Decide who acts on a model's cases.", no_args_is_help=True)
app.add_typer(keys, name="keys")
app.add_typer(db, name="db")
app.add_typer(events, name="events")
app.add_typer(alarms, name="alarms")
app.add_typer(decisions, name="decisions")
app.add_typer(rollout, name="rollout")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Config = Annotated[
    Path | None, typer.Option("--config", help="Settings file; else ./fieldwatch.toml if present.")
]
Html = Annotated[
    Path | None, typer.Option("--html", help="Write a page with pictures to this file.")
]
Model = Annotated[str | None, typer.Option("--model", help="Only this model.")]


def _not_blank(reason: str) -> str:
    if not reason.strip():
        raise typer.BadParameter("say why, for whoever reads the audit trail")
    return reason


Reason = Annotated[str, typer.Option("--reason", help="Why, for the record.", callback=_not_blank)]


class KeyRole(StrEnum):
    """What a key may do, the least first."""

    VIEWER = "viewer"
    SERVICE = "service"
    OPERATOR = "operator"
    ADMIN = "admin"


def _run(command: str, **arguments: Any) -> None:
    """Import a command's module, run it, and end with its exit code."""
    module = importlib.import_module(f"monitor.commands.{command}")
    code = module.run(**arguments)
    if code:
        raise typer.Exit(code)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show where a fault came from.")] = False,
) -> None:
    """Read the options that stand before the command; `main` itself looks for --debug."""


@app.command("import")
def import_(
    learner: Annotated[Path, typer.Argument(help="The exported Learner, a .pkl file.")],
    data: Annotated[Path, typer.Option("--data", help="Training data: folder, CSV or Parquet.")],
    name: Annotated[str, typer.Option("--name", help="Name the model is served under.")],
    version: Annotated[
        str | None, typer.Option("--version", help="Version; else the next number.")
    ] = None,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Open the pickle, which runs code it contains.")
    ] = False,
    code: Annotated[
        Path | None, typer.Option("--code", help="Python file the pickle refers to.")
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="'unknown': chart only, no alarms.")
    ] = None,
    mid_layer: Annotated[
        str | None, typer.Option("--mid-layer", help="Layer the domain score looks at.")
    ] = None,
    alpha: Annotated[
        float | None, typer.Option("--alpha", help="Share of healthy inputs to flag.")
    ] = None,
    scores: Annotated[
        str | None,
        typer.Option("--scores", help="Members of the semantic score, such as maha++,gen,knn."),
    ] = None,
    cross_conformal: Annotated[
        int | None,
        typer.Option(
            "--cross-conformal", help="Refits of the scores, for under 100 held-out episodes."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Divides the held-out rows.")] = 0,
    unconfined: Annotated[
        bool, typer.Option("--unconfined", help="Open the pickle without isolation; recorded.")
    ] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve this version in place of the current one.")
    ] = False,
    drill: Annotated[
        bool, typer.Option("--drill/--no-drill", help="End with a quick drill, which certifies.")
    ] = True,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Turn a fastai Learner and its training data into a bundle, and trust it."""
    _run("import_learner", **locals())


@app.command()
def rebaseline(
    name: Annotated[str, typer.Argument(help="The model, as it is served.")],
    data: Annotated[
        Path, typer.Option("--data", help="Confirmed pictures with labels: folder, CSV, Parquet.")
    ],
    reason: Reason,
    mode: Annotated[
        str, typer.Option("--mode", help="join: beside the held-out rows; replace: instead.")
    ] = "join",
    accept_shift: Annotated[
        bool, typer.Option("--accept-shift", help="Take rows in that are flagged too often.")
    ] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the new version in place of the current one.")
    ] = False,
    drill: Annotated[
        bool, typer.Option("--drill/--no-drill", help="End with a quick drill, which certifies.")
    ] = True,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Make a new version whose reference holds confirmed data of the field."""
    _run("rebaseline", **locals())


@app.command()
def drill(
    name: Annotated[str, typer.Argument(help="The model.")],
    version: Annotated[
        str | None, typer.Option("--version", help="Version; else the one that is served.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="All pictures, severities and shares; minutes.")
    ] = False,
    novel: Annotated[
        Path | None, typer.Option("--novel", help="Pictures of things the model never saw.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="The imported folder: more held-out pictures.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with curves to this file.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Decides every draw.")] = 0,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Certify a model's alarms: false alarms, delays, and what would go unseen."""
    _run("drill", **locals())


@app.command()
def up(as_json: Json = False, config: Config = None) -> None:
    """Run the gateway and the monitor until Ctrl-C."""
    _run("up", as_json=as_json, config=config)


@app.command()
def gateway(as_json: Json = False, config: Config = None) -> None:
    """Run the gateway: answer, score, record."""
    _run("gateway", as_json=as_json, config=config)


@app.command()
def monitor(as_json: Json = False, config: Config = None) -> None:
    """Run the monitor: detect, alarm, summarise."""
    _run("monitor", as_json=as_json, config=config)


@app.command()
def send(
    path: Annotated[Path, typer.Argument(help="File, folder, or CSV/Parquet table of paths.")],
    model: Annotated[
        str | None, typer.Option("--model", help="Model that shall answer; else the only one.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", min=0.001, help="Inputs per second; else full speed.")
    ] = None,
    unit: Annotated[
        str | None, typer.Option("--unit", help="Camera, site or user of the inputs.")
    ] = None,
    case_from: Annotated[
        str | None, typer.Option("--case-from", help="'name': the file's name is the case id.")
    ] = None,
    segment: Annotated[
        list[str] | None, typer.Option("--segment", help="key=value to slice by; repeatable.")
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, max=256, help="Most requests at once.")
    ] = 8,
    url: Annotated[
        str | None, typer.Option("--url", envvar="FIELDWATCH_URL", help="The gateway's address.")
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Send files or the rows of a table to a gateway."""
    _run("send", **locals())


@app.command()
def status(
    model: Model = None,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option("--every", min=0.2, help="Seconds to refresh.")] = 2.0,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show models, traffic, flags, evidence against thresholds, and alarms."""
    _run("status", **locals())


@app.command()
def budget(
    history: Annotated[
        int, typer.Option("--history", min=0, max=10_000, help="Lines of the ledger to show.")
    ] = 10,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show how the one false-alarm budget is divided among streams, and spent."""
    _run("budget", history=history, as_json=as_json, config=config)


@app.command()
def accuracy(
    name: Annotated[str, typer.Argument(help="The model.")],
    last: Annotated[str, typer.Option("--last", help="How far back: 90m, 24h, 7d, 2w.")] = "24h",
    segment: Annotated[
        str | None, typer.Option("--segment", help="key=value: only these events.")
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show a model's accuracy: estimated without labels, measured with the decisions taken in."""
    _run("accuracy", **locals())


@app.command()
def windows(
    model: Annotated[str, typer.Argument(help="Model whose record is compared.")],
    start: Annotated[
        str | None, typer.Option("--from", help="Since when: 2026-01-31 or 2026-01-31T06:00Z.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Until when; else now.")] = None,
    last: Annotated[
        str | None, typer.Option("--last", help="Instead of --from: 90m, 24h, 7d, 2w; else 24h.")
    ] = None,
    segment: Annotated[
        str | None, typer.Option("--segment", help="key=value of one in detectors.segments.")
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Compare a range of the record with the reference: what differs, and by how much."""
    _run("windows", **locals())


@app.command()
def audit(
    target: Annotated[
        str | None, typer.Option("--target", help="Only this, as model/NAME or bundle/DIGEST.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Most to list.")] = 50,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """List who did what to what, the latest first."""
    _run("audit", target=target, limit=limit, as_json=as_json, config=config)


@app.command()
def doctor(as_json: Json = False, config: Config = None) -> None:
    """Look for the usual faults and say how to mend each; exit 1 if there is one."""
    _run("doctor", as_json=as_json, config=config)


@app.command()
def demo(
    check: Annotated[bool, typer.Option("--check", help="Exit 0 only if it came true.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Divides and orders the data.")] = 0,
    home: Annotated[
        Path | None, typer.Option("--home", "--keep", help="Keep everything in this folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Play the whole story on real handwritten digits."""
    _run("demo", check=check, seed=seed, home=home, as_json=as_json)


@app.command()
def explain(
    name: Annotated[str, typer.Argument(help="The model.")],
    since: Annotated[
        str | None,
        typer.Option("--from", help="Time, UTC unless it says otherwise; else an hour before."),
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="Time; else now.")] = None,
    last: Annotated[
        str | None, typer.Option("--last", help="Instead of --from: 90m, 24h, 7d, 2w.")
    ] = None,
    html: Html = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show how a model's inputs of a stretch of time differ from training."""
    _run(
        "explain",
        what="range",
        subject=name,
        since=since,
        until=until,
        last=last,
        html=html,
        as_json=as_json,
        config=config,
    )


@events.callback(invoke_without_command=True)
def list_events(
    context: typer.Context,
    model: Model = None,
    flagged: Annotated[bool, typer.Option("--flagged", help="Only flagged ones.")] = False,
    rejected: Annotated[bool, typer.Option("--rejected", help="Only rejected ones.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Most to list.")] = 20,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """List recorded events, the latest first."""
    if context.invoked_subcommand is None:
        _run(
            "events",
            model=model,
            flagged=flagged,
            rejected=rejected,
            limit=limit,
            as_json=as_json,
            config=config,
        )


@events.command("show")
def show_event(
    event_id: Annotated[str, typer.Argument(help="Id of the event.")],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show one event beside the training items it most resembles."""
    _run("event", event_id=event_id, as_json=as_json, config=config)


@events.command("explain")
def explain_event(
    event_id: Annotated[str, typer.Argument(help="Id of the event.")],
    html: Html = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show what is unusual about one event."""
    _run("explain", what="event", subject=event_id, html=html, as_json=as_json, config=config)


@alarms.command("list")
def list_alarms(
    model: Model = None,
    everything: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """List open alarms, the latest first."""
    _run("alarms", model=model, everything=everything, as_json=as_json, config=config)


@alarms.command("show")
def show_alarm(
    alarm_id: Annotated[str, typer.Argument(help="Id of the alarm, or how it begins.")],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show one alarm with its evidence."""
    _run("alarm", alarm_id=alarm_id, as_json=as_json, config=config)


@alarms.command("explain")
def explain_alarm(
    alarm_id: Annotated[str, typer.Argument(help="Id of the alarm, or how it begins.")],
    html: Html = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show what changed behind an alarm: what it looks like, what moved, where, since when."""
    _run("explain", what="alarm", subject=alarm_id, html=html, as_json=as_json, config=config)


@decisions.command("import")
def import_decisions(
    file: Annotated[Path, typer.Argument(help="CSV, Parquet or JSONL file of decisions.")],
    model: Annotated[
        str | None, typer.Option("--model", help="Where a row names none; else the only one.")
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", help="Who decided, where a row does not say.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", help="Where they come from; else the file's name.")
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Record human decisions from a file; exit 1 if a row was refused, the others are in."""
    _run("decisions", **locals())


@alarms.command("acknowledge")
def acknowledge_alarm(
    alarm_id: Annotated[str, typer.Argument(help="Id of the alarm, or how it begins.")],
    reason: Reason,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Say that an open alarm was seen: its streams begin again from nothing."""
    _run("acknowledge", alarm_id=alarm_id, reason=reason, as_json=as_json, config=config)


@keys.command("create")
def create_key(
    person: Annotated[str, typer.Argument(help="Who the key belongs to.")],
    role: Annotated[KeyRole, typer.Option("--role", help="What it may do.")] = KeyRole.VIEWER,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Make a key; it is shown once."""
    _run("keys", action="create", person=person, role=role, as_json=as_json, config=config)


@keys.command("list")
def list_keys(as_json: Json = False, config: Config = None) -> None:
    """List keys, never their secrets."""
    _run("keys", action="list", as_json=as_json, config=config)


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="Id of the key, as `keys list` shows it.")],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Make a key worthless."""
    _run("keys", action="revoke", key_id=key_id, as_json=as_json, config=config)


@db.command("upgrade")
def upgrade(as_json: Json = False, config: Config = None) -> None:
    """Bring the state store to the schema this Fieldwatch needs."""
    _run("db", as_json=as_json, config=config)


@rollout.command("kill")
def kill(
    reason: Reason,
    model: Annotated[str | None, typer.Option("--model", help="Only this model; else all.")] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Let humans act at once, whatever any plan says."""
    _run("kill", armed=True, reason=reason, model=model, as_json=as_json, config=config)


@rollout.command("unkill")
def unkill(
    reason: Reason,
    model: Annotated[str | None, typer.Option("--model", help="Only this model; else all.")] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Release the latch that `rollout kill` armed."""
    _run("kill", armed=False, reason=reason, model=model, as_json=as_json, config=config)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line and exit with its code; a fault is one line on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(given)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as fault:
        if "--debug" in given:
            raise
        sys.exit(_explain(fault))


def _explain(fault: Exception) -> int:
    from monitor.errors import FieldwatchError, OptionInvalid, SettingsInvalid
    from reference_data.errors import ReferenceDataError

    if isinstance(fault, FieldwatchError | ReferenceDataError):
        print(f"fieldwatch: {fault}", file=sys.stderr)  # noqa: T201
        return 2 if isinstance(fault, SettingsInvalid | OptionInvalid) else 1
    print(  # noqa: T201
        f"fieldwatch: unexpected {type(fault).__name__}: {fault}. "
        "Run `fieldwatch --debug …` to see where it came from.",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    main()
