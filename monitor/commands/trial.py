"""`fieldwatch rollout trial`: the model beside the people, case by case."""

from pathlib import Path

from rich.markup import escape

from monitor.commands.screen import console, interval, moment, print_json, table
from monitor.services.trial.report import ActionAlarm, Measured, Share, TrialReport
from monitor.services.trial.show import show_trial
from monitor.stats.trial.agreement import Coefficient
from monitor.wiring import open_store

SHOWN = 10

ALARMS = {
    ActionAlarm.WITHIN: "[green]between half and double[/]",
    ActionAlarm.DOUBLED: "[red]DOUBLED[/]",
    ActionAlarm.HALVED: "[red]HALVED[/]",
    ActionAlarm.SHIFTED: "[yellow]not the same; whether doubled or halved is open[/]",
    ActionAlarm.UNKNOWN: "[yellow]unknown: too few actions yet[/]",
}


def run(*, name: str, attempt: int | None, as_json: bool, config: Path | None) -> int:
    """Sum up a rollout's shadow trial."""
    with open_store(config) as context:
        found = show_trial(context, name, attempt=attempt)
    if as_json:
        print_json(found)
    else:
        show(name, found)
    return 0


def show(name: str, found: TrialReport) -> None:
    """Print a trial."""
    console.print(
        f"[bold]{escape(name)}[/]: {found.cases} cases decided by people and predicted by the "
        f"model, {found.episodes} episodes; every interval is {1 - found.alpha:.0%} at every look"
    )
    if not found.cases:
        console.print("No human decision has met a prediction yet: `fieldwatch decisions import`.")
        return
    rows = [
        ("agreement, model with people", _coefficient(found.agreement.raw)),
        ("  AC1", _plain(found.agreement.ac1)),
        ("  kappa (collapses when a class is rare)", _plain(found.agreement.kappa)),
        (
            f"agreement, people with people ({found.ceiling.cases} read twice)",
            _coefficient(found.ceiling.raw),
        ),
        (_titled("error of the model", found.model_error), _measured(found.model_error)),
        (_titled("error of the people", found.human_error), _measured(found.human_error)),
        (f"cost of the model, {found.cost_unit} a case", _number(found.model_cost)),
        (f"cost of the people, {found.cost_unit} a case", _number(found.human_cost)),
        ("actions, model : people", _ratio(found)),
    ]
    console.print(table(None, ("measured", "estimate and interval"), rows))
    _confusion(found)
    for title, shares in (("by class", found.by_class), ("by segment", found.by_segment)):
        if shares:
            console.print(_shares(title, shares))
    if found.disagreements:
        shown = found.disagreements[:SHOWN]
        columns = ("event!", "at", "unit", "model", "people", "adjudicated")
        cells = [(c.event_id, moment(c.at), c.unit, c.prediction, c.human, c.truth) for c in shown]
        console.print(table(f"disagreements ({len(found.disagreements)})", columns, cells))


def _confusion(found: TrialReport) -> None:
    columns = ("model \\ people", *(f"{name}>" for name in found.vocabulary))
    rows = [(name, *counts) for name, counts in zip(found.vocabulary, found.confusion, strict=True)]
    console.print(table("confusion, episodes", columns, rows))


def _shares(title: str, shares: tuple[Share, ...]) -> object:
    rows = [(s.name, s.cases, interval(s.estimate, s.low, s.high)) for s in shares]
    return table(f"agreement {title}", ("", "episodes>", "agreement"), rows)


def _titled(what: str, measured: Measured) -> str:
    return f"{what} ({measured.adjudicated} adjudicated, weighted)"


def _coefficient(found: Coefficient) -> str:
    return interval(found.estimate, found.low, found.high)


def _plain(found: Coefficient) -> str:
    if found.estimate is None:
        return "[yellow]unknown[/]"
    return f"{found.estimate:.2f} ({found.low:.2f} … {found.high:.2f})"


def _measured(found: Measured) -> str:
    return interval(found.estimate, found.low, found.high)


def _number(found: Measured) -> str:
    if found.estimate is None:
        return "[yellow]unknown[/]"
    return f"{found.estimate:.3f} ({found.low:.3f} … {found.high:.3f})"


def _ratio(found: TrialReport) -> str:
    actions = found.actions
    if actions.estimate is None:
        return ALARMS[found.action_alarm]
    return (
        f"{actions.estimate:.2f} ({actions.lower:.2f} … {actions.upper:.2f}), "
        f"{ALARMS[found.action_alarm]}"
    )
