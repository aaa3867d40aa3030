"""The command line: its table of contents, and how it ends.

Names and options are in `monitor.command_line`, a module a group. What a command does is a module
of `monitor.commands`, imported when it runs, so that `--help` answers at once. Exit codes: 0 done,
1 a fault that the message explains, 2 the command line or the settings are wrong. Faults are one
line on stderr, a JSON object with `--json`; `--debug` shows where they came from.
"""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from monitor.command_line import (
    alarms,
    decisions,
    events,
    faults,
    keys,
    models,
    record,
    review,
    rollout,
    service,
    store,
)

app = typer.Typer(
    name="fieldwatch",
    help="Serve a fastai model, watch what it sees, and learn in time when it is out of its depth.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show where a fault came from.")] = False,
) -> None:
    """Read the options that stand before the command; `main` itself looks for --debug."""


app.command("import")(models.import_)
app.command()(models.rebaseline)
app.command()(models.drill)

app.command()(service.up)
app.command()(service.gateway)
app.command()(service.monitor)
app.command()(service.send)
app.command()(service.demo)

app.command()(record.status)
app.command()(record.explain)
app.command()(record.accuracy)
app.command()(record.windows)
app.command()(record.report)
app.command()(record.budget)
app.command()(record.audit)
app.command()(record.doctor)

app.add_typer(events.app, name="events")
app.add_typer(alarms.app, name="alarms")
app.add_typer(decisions.app, name="decisions")
app.add_typer(rollout.app, name="rollout")
app.add_typer(review.app, name="review")
app.add_typer(keys.app, name="keys")
app.add_typer(store.app, name="db")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line and exit with its code; a fault is one line on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    try:
        # For people the library words faults of the command line itself, with a hint of usage.
        sys.exit(app(given, standalone_mode=not as_json))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as fault:
        if "--debug" in given:
            raise
        sys.exit(faults.explain(fault, as_json=as_json))


if __name__ == "__main__":
    main()
