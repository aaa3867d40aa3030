"""What all boards share: variables, annotations, links, and where panels stand."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models
from typing_extensions import override

from dashboards.grafana.boards.panels import SOURCE, Panel

COLUMNS = 24
TAG = "fieldwatch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a board's links lead; both can be changed in a board's address (``var-console``)."""

    console: str = "http://127.0.0.1:8001"
    runbook: str = "https://fieldwatch.example/runbook"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A variable whose values are those of a label."""

    name: str
    title: str
    values: str
    """What is asked of Prometheus, such as ``label_values(series, label)``."""
    hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Panels under one title, from left to right and line by line."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A dashboard."""

    name: str
    """Ends its address and the name of its file."""
    title: str
    about: str
    choices: Sequence[Choice]
    rows: Sequence[Row]
    since: str = "now-6h"


MODELS = Choice(name="model", title="Model", values="label_values(fieldwatch_alarm_open, model)")


def processes(component: str, *, hidden: bool = False) -> tuple[Choice, Choice]:
    """Choose among the jobs and instances of a component, or of all with ``.+``."""
    series = f'fieldwatch_build_info{{component=~"{component}"}}'
    return (
        Choice(name="job", title="Job", values=f"label_values({series}, job)", hidden=hidden),
        Choice(
            name="instance",
            title="Instance",
            values=f"label_values({series}, instance)",
            hidden=hidden,
        ),
    )


def document(board: Board, addresses: Addresses) -> dict[str, Any]:
    """Build what Grafana reads."""
    built = _shell(board, addresses)
    y = 0
    for row in board.rows:
        built = built.with_row(dashboard.Row(row.title).grid_pos(models.GridPos(1, COLUMNS, 0, y)))
        y += 1
        x = line = 0
        for builder in row.panels:
            panel = builder.build()
            assert panel.grid_pos is not None
            if x + panel.grid_pos.w > COLUMNS:
                x, y, line = 0, y + line, 0
            panel.grid_pos.x, panel.grid_pos.y = x, y
            x, line = x + panel.grid_pos.w, max(line, panel.grid_pos.h)
            built = built.with_panel(_Built(panel))
        y += line
    found: dict[str, Any] = json.loads(json.dumps(built.build(), cls=JSONEncoder))
    for number, panel in enumerate(found["panels"], 1):  # the builders number none of them
        panel["id"] = number
    return found


def write(board: Board, addresses: Addresses) -> str:
    """Write a board as JSON, the same for the same board."""
    return json.dumps(document(board, addresses), indent=2, sort_keys=True) + "\n"


class _Built(Builder[models.Panel]):
    """A panel that is built already."""

    def __init__(self, panel: models.Panel) -> None:
        self._panel = panel

    @override
    def build(self) -> models.Panel:
        return self._panel


def _shell(board: Board, addresses: Addresses) -> dashboard.Dashboard:
    built = (
        dashboard.Dashboard(f"Fieldwatch / {board.title}")
        .uid(f"fieldwatch-{board.name}")
        .description(board.about)
        .tags([TAG])
        .readonly()
        .timezone("utc")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time(board.since, "now")
        .refresh("30s")
        .link(_others())
        .link(_page("Console", "${console}"))
        .link(_page("Runbook", "${runbook}"))
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data").type("prometheus"))
    )
    for choice in board.choices:
        built = built.with_variable(_query(choice))
    for name, address in (("console", addresses.console), ("runbook", addresses.runbook)):
        built = built.with_variable(_text(name, address))
    has_model = any(choice.name == "model" for choice in board.choices)
    for annotation in _annotations() if has_model else ():
        built = built.annotation(annotation)
    return built


def _query(choice: Choice) -> dashboard.QueryVariable:
    hide = models.VariableHide.HIDE_VARIABLE if choice.hidden else models.VariableHide.DONT_HIDE
    return (
        dashboard.QueryVariable(choice.name)
        .label(choice.title)
        .datasource(SOURCE)
        .query(choice.values)
        .definition(choice.values)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .hide(hide)
    )


def _text(name: str, value: str) -> dashboard.TextBoxVariable:
    return (
        dashboard.TextBoxVariable(name)
        .default_value(value)
        .current(models.VariableOption(selected=True, text=value, value=value))
        .hide(models.VariableHide.HIDE_VARIABLE)
    )


def _others() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("Fieldwatch")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .keep_time(True)
        .include_vars(True)
        .as_dropdown(False)
    )


def _page(title: str, url: str) -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink(title)
        .type(models.DashboardLinkType.LINK)
        .icon("external link")
        .url(url)
        .target_blank(True)
    )


_FIRING = 'ALERTS{alertname=~"Fieldwatch.+", alertstate="firing", model=~"$model|"}'
_STAGE = 'max by (model, stage) (fieldwatch_rollout_stage{model=~"$model"}%s) == 1'
_ROLLBACK = 'max by (model) (fieldwatch_rollback_timestamp_seconds{model=~"$model"} > 0) * 1000'


def _annotations() -> list[dashboard.AnnotationQuery]:
    changed = f"({_STAGE % ''}) unless ({_STAGE % ' offset 1m'})"
    return [
        _annotation("Firing alerts", _FIRING, "red", "{{alertname}}", "{{severity}} {{model}}"),
        _annotation("Stage changes", changed, "blue", "{{model}}: {{stage}}", "a rollout moved"),
        _annotation(
            "Rollbacks", _ROLLBACK, "orange", "{{model}} rolled back", "humans act again"
        ).use_value_for_time(True),
    ]


def _annotation(
    name: str, expr: str, colour: str, title: str, text: str
) -> dashboard.AnnotationQuery:
    return (
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(shapes.DataSourceRef(type_val="prometheus", uid="${datasource}"))
        .enable(True)
        .icon_color(colour)
        .expr(expr)
        .step("60s")
        .title_format(title)
        .text_format(text)
    )
