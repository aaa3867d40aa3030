"""`fieldwatch rollout lint`: whether a plan can work, before it starts."""

import math
from collections.abc import Iterable
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from monitor.commands.screen import console, print_json, table
from monitor.domain import Stage
from monitor.errors import PlanInvalid
from monitor.rollouts.lint import can_start, lint
from monitor.rollouts.lint_timing import many, span
from monitor.rollouts.plan import RolloutPlan
from monitor.rollouts.plan_document import plan_hash
from monitor.rollouts.remark import Gravity, Remark
from monitor.rollouts.surroundings import Surroundings
from monitor.rollouts.time_to_decide import Decision, decisions
from monitor.services.rollouts.check_plan import surroundings
from monitor.services.rollouts.read_plan import read_plan_file
from monitor.wiring import open_store


def run(*, file: Path, model: str | None, as_json: bool, config: Path | None) -> int:
    """Read, judge, and show how long each gate takes; 1 when the plan cannot start."""
    try:
        plan = read_plan_file(file)
    except PlanInvalid as error:
        return _show_unreadable(file, error, as_json)
    known = _surroundings(plan, model, config)
    remarks = lint(plan, known)
    timed = _timed(plan, known, remarks)
    fit = can_start(remarks)
    if as_json:
        print_json(
            {
                "file": str(file),
                "rollout": plan.name,
                "plan_hash": plan_hash(plan),
                "can_start": fit,
                "judged_beside_model": model,
                "remarks": remarks,
                "time_to_decide": [_row_for_programs(each) for each in timed],
            }
        )
        return 0 if fit else 1
    console.print(f"[bold]{escape(plan.name)}[/] of {escape(plan.model)}, by {escape(plan.author)}")
    if timed:
        console.print(_timing_table(timed))
    _show(remarks)
    console.print(_conclusion(plan, remarks, model))
    return 0 if fit else 1


def _surroundings(plan: RolloutPlan, model: str | None, config: Path | None) -> Surroundings:
    if model is None:
        return Surroundings()
    with open_store(config) as context:
        return surroundings(context, model, plan.version if model == plan.model else None)


def _timed(
    plan: RolloutPlan, known: Surroundings, remarks: tuple[Remark, ...]
) -> tuple[Decision, ...]:
    """Time the gates, unless the plan's numbers make no sense.

    Errors about time alone are about gates within a stage; their numbers do.
    """
    senseless = [
        remark
        for remark in remarks
        if remark.gravity is Gravity.ERROR and " in stages[" not in remark.place
    ]
    return () if senseless else decisions(plan, known)


def _show_unreadable(file: Path, error: PlanInvalid, as_json: bool) -> int:
    if as_json:
        print_json(
            {"file": str(file), "can_start": False, "remarks": error.faults, "time_to_decide": []}
        )
        return 1
    _show(error.faults)
    console.print(f"[red]{escape(str(file))} is no plan yet.[/]", soft_wrap=True)
    return 1


def _show(remarks: Iterable[Remark]) -> None:
    for remark in remarks:
        colour = "red" if remark.gravity is Gravity.ERROR else "yellow"
        console.print(
            f"[{colour}]{remark.gravity}[/] [bold]{escape(remark.place)}[/] "
            f"{escape(remark.cause)}. {escape(remark.way_out)}",
            soft_wrap=True,
        )


def _conclusion(plan: RolloutPlan, remarks: tuple[Remark, ...], model: str | None) -> str:
    faults = sum(remark.gravity is Gravity.ERROR for remark in remarks)
    others = len(remarks) - faults
    warned = f", with {others} warning{'s' * (others != 1)}" if others else ""
    if faults:
        return f"[red]It cannot start: {faults} error{'s' * (faults != 1)}[/]{warned}."
    beside = (
        ""
        if model
        else " Add `--model "
        + escape(plan.model)
        + "` to judge it beside the imported model, the people and other rollouts here."
    )
    return f"[green]It can start[/]{warned}.{beside}"


def _timing_table(timed: tuple[Decision, ...]) -> Table:
    rows, last = [], ""
    for each in timed:
        step = each.stage.value
        if each.stage is Stage.GRADUAL:
            step += f" {each.share:g} %"
        late = None if each.late_days is None else span(each.late_days)
        colour = "" if each.in_time else "[red]" if each.required else "[yellow]"
        rows.append(
            (
                step if step != last else "",
                escape(each.gate),
                "never" if math.isinf(each.needed) else f"{each.needed:,.0f} {each.unit}",
                many(each.per_day),
                f"{colour}{span(each.days)}{'[/]' * bool(colour)}",
                late,
                span(each.longest_days),
                escape(_supposed(each)),
            )
        )
        last = step
    columns = ("step", "gate", "passes at>", "a day>", "half by>", "9 in 10 by>", "at most>", "if")
    return table("time to decide, when all is well", columns, rows)


def _supposed(decision: Decision) -> str:
    if decision.doubling_days is None:
        return decision.assuming
    return f"{decision.assuming}; doubled, seen in {span(decision.doubling_days)}"


def _row_for_programs(decision: Decision) -> dict[str, object]:
    """Write a decision without the infinities that JSON lacks."""
    return {
        "gate": decision.gate,
        "stage": decision.stage,
        "step": decision.step,
        "share": decision.share,
        "unit": decision.unit,
        "needed": _finite(decision.needed),
        "per_day": decision.per_day,
        "days": _finite(decision.days),
        "late_days": _finite(decision.late_days),
        "longest_days": decision.longest_days,
        "assuming": decision.assuming,
        "required": decision.required,
        "doubling_days": _finite(decision.doubling_days),
        "in_time": decision.in_time,
    }


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
