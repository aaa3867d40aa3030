"""The kinds of panel we use, and how they look.

Every panel says in its description how it is read and what is normal. A panel that shows what an
alert compares names the alert: it links to the runbook's heading, and its line is the alert's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heat_shapes
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from typing_extensions import override

SOURCE = shapes.DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, YELLOW, ORANGE, RED, BLUE, PURPLE, GREY = (
    "green",
    "#EAB839",
    "orange",
    "red",
    "blue",
    "purple",
    "#8e8e96",
)

GAP_MS = 60_000
"""A scrape or two that failed are drawn through; what was away longer was away."""

Panel = Builder[models.Panel]
AnyPanel = TypeVar(
    "AnyPanel",
    bargauge.Panel,
    heatmap.Panel,
    stat.Panel,
    statetimeline.Panel,
    table.Panel,
    timeseries.Panel,
)
Mappings = Mapping[float, tuple[str, str]]
"""What a number stands for: its word and its colour."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query of a panel; `legend` names its series."""

    expr: str
    legend: str = ""
    exemplar: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What every panel has: where it stands, what it says of itself, and where it leads."""

    title: str
    about: str
    width: int = 12
    height: int = 8
    unit: str = "short"
    decimals: int | None = None
    alerts: Sequence[str] = ()
    """Alerts whose heading in the runbook explains what is seen here."""
    steps: Sequence[tuple[float, str]] = ()
    """From which value on which colour, above `base`."""
    base: str = GREEN
    words: Mappings | None = None
    empty: str | None = None
    """What is shown in place of a value where there is none, and that is no fault."""
    links: Sequence[tuple[str, str]] = ()
    """Titles and addresses a series leads to."""
    least: float | None = None
    most: float | None = None
    reach: float | None = None
    """How far an axis goes at least, so that lines are in sight and nothing is not a hundred."""


def tile(place: Place, expr: str, *, legend: str = "", sparkline: bool = False) -> Panel:
    """Show one number now, or one for each series."""
    panel = (
        stat.Panel()
        .graph_mode(shapes.BigValueGraphMode.AREA if sparkline else shapes.BigValueGraphMode.NONE)
        .color_mode(shapes.BigValueColorMode.VALUE)
        .justify_mode(shapes.BigValueJustifyMode.CENTER)
        .text_mode(
            shapes.BigValueTextMode.VALUE_AND_NAME if legend else shapes.BigValueTextMode.VALUE
        )
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .text(common.VizTextDisplayOptions().title_size(13).value_size(_size(place)))
    )
    panel = placed(panel, place)
    query = dataquery(Query(expr, legend), "A")
    return panel.with_target(query.range() if sparkline else query.instant())


def _size(place: Place) -> int:
    """Choose a size at which words stay on one line."""
    in_words = place.unit.startswith("dateTime") or len(place.empty or "") > len("too few")
    return 18 if in_words else 30


def chart(
    place: Place,
    *queries: Query,
    stacked: bool = False,
    log: int | None = None,
    lines: bool = True,
    bounds: bool = False,
) -> timeseries.Panel:
    """Show series over time.

    Parameters
    ----------
    stacked
        Whether the series add up to something.
    log
        Base of a logarithmic axis.
    lines
        Whether the steps of `place` are drawn as lines.
    bounds
        Whether series that end in ``low`` and ``high`` are bounds of another: thin and dashed.
    """
    mode = shapes.GraphThresholdsStyleMode
    panel = (
        timeseries.Panel()
        .line_width(1 if stacked else 2)
        .fill_opacity(30 if stacked else 0)
        .show_points(shapes.VisibilityMode.NEVER)
        .span_nulls(GAP_MS)
        .thresholds_style(
            common.GraphThresholdsStyleConfig().mode(
                mode.DASHED if lines and place.steps else mode.OFF
            )
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(shapes.TooltipDisplayMode.MULTI)
            .sort(shapes.SortOrder.DESCENDING)
        )
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(shapes.LegendDisplayMode.LIST)
            .placement(shapes.LegendPlacement.BOTTOM)
        )
        .color_scheme(_Coloured("palette-classic"))
    )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL).group("A"))
    if log is not None:
        panel = panel.scale_distribution(
            common.ScaleDistributionConfig().type(shapes.ScaleDistribution.LOG).log(log)
        )
    if place.reach is not None:
        panel = panel.axis_soft_max(place.reach)
    if bounds:
        panel = panel.override_by_regexp("/(low|high)$/", _AS_BOUND)
    return _asked(placed(panel, place), queries)


def coloured(panel: timeseries.Panel, colours: Mapping[str, str]) -> timeseries.Panel:
    """Give series of these names these colours: what means the same looks the same."""
    for name, colour in colours.items():
        fixed = {"mode": "fixed", "fixedColor": colour}
        panel = panel.override_by_name(name, [models.DynamicConfigValue("color", fixed)])
    return panel


def heat(place: Place, query: Query, *, scheme: str = "Blues") -> Panel:
    """Show the buckets of a histogram over time; a step of `place` has no meaning here."""
    panel = (
        heatmap.Panel()
        .calculate(False)
        .cell_gap(1)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heat_shapes.HeatmapColorMode.SCHEME)
            .scheme(scheme)
            .steps(48)
            .exponent(0.5)
            .scale(heat_shapes.HeatmapColorScale.EXPONENTIAL)
            .fill("dark-blue")
        )
        .y_axis(
            heatmap.YAxisConfig()
            .axis_placement(shapes.AxisPlacement.LEFT)
            .unit("short" if place.unit == "percentunit" else place.unit)
        )
        .cell_values(heatmap.CellValues().unit(place.unit))
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .tooltip(
            heatmap.HeatmapTooltip()
            .mode(shapes.TooltipDisplayMode.SINGLE)
            .y_histogram(True)
            .show_color_scale(True)
        )
        .show_legend()
    )
    target = dataquery(query, "A").range().format(PromQueryFormat.HEATMAP)
    return placed(panel, place).with_target(target.exemplar(query.exemplar))


def timeline(place: Place, *queries: Query) -> Panel:
    """Show states over time; `place.words` says what each number means."""
    panel = (
        statetimeline.Panel()
        .show_value(shapes.VisibilityMode.AUTO)
        .merge_values(True)
        .row_height(0.8)
        .span_nulls(GAP_MS)
        .fill_opacity(80)
        .line_width(0)
        .align_value(shapes.TimelineValueAlignment.LEFT)
        .legend(
            common.VizLegendOptions()
            .show_legend(False)
            .display_mode(shapes.LegendDisplayMode.HIDDEN)
            .placement(shapes.LegendPlacement.BOTTOM)
        )
        .color_scheme(_Coloured("fixed", GREY))
    )
    return _asked(placed(panel, place), queries)


def bars(place: Place, *queries: Query) -> Panel:
    """Show numbers of now, side by side and the greatest first."""
    panel = (
        bargauge.Panel()
        .orientation(shapes.VizOrientation.HORIZONTAL)
        .display_mode(shapes.BarGaugeDisplayMode.BASIC)
        .value_mode(shapes.BarGaugeValueMode.TEXT)
        .name_placement(shapes.BarGaugeNamePlacement.LEFT)
        .show_unfilled(True)
        .sizing(shapes.BarGaugeSizing.AUTO)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .text(common.VizTextDisplayOptions().title_size(12).value_size(14))
    )
    panel = placed(panel, place)
    for ref, query in zip(ascii_uppercase, queries, strict=False):
        panel = panel.with_target(dataquery(query, ref).instant())
    return panel


def placed(panel: AnyPanel, place: Place) -> AnyPanel:
    """Give a panel what every panel has."""
    steps = [models.Threshold(value=None, color=place.base)]
    steps += [models.Threshold(value=value, color=colour) for value, colour in place.steps]
    panel = (
        panel.title(place.title)
        .description(place.about)
        .datasource(SOURCE)
        .span(place.width)
        .height(place.height)
        .unit(place.unit)
        .thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
        .links([_link(f"Runbook: {name}", runbook(name)) for name in place.alerts])
    )
    if place.links:
        panel = panel.data_links([_link(title, url) for title, url in place.links])
    if place.decimals is not None:
        panel = panel.decimals(place.decimals)
    if place.words is not None:
        panel = panel.mappings([mapped(place.words)])
    if place.empty is not None:
        panel = panel.no_value(place.empty)
    if place.least is not None:
        panel = panel.min(place.least)
    if place.most is not None:
        panel = panel.max(place.most)
    return panel


def runbook(alert: str) -> str:
    """Say where an alert is explained."""
    return f"${{runbook}}#{alert.lower()}"


def _asked(panel: AnyPanel, queries: Sequence[Query]) -> AnyPanel:
    for ref, query in zip(ascii_uppercase, queries, strict=False):
        panel = panel.with_target(dataquery(query, ref).range().exemplar(query.exemplar))
    return panel


def dataquery(query: Query, ref: str) -> prometheus.Dataquery:
    """Ask Prometheus, under a letter."""
    return (
        prometheus.Dataquery()
        .ref_id(ref)
        .expr(query.expr)
        .legend_format(query.legend)
        .datasource(SOURCE)
    )


def _link(title: str, url: str) -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink(title)
        .type(models.DashboardLinkType.LINK)
        .url(url)
        .target_blank(True)
    )


def mapped(words: Mappings) -> models.ValueMap:
    """Let numbers be shown as the words they stand for."""
    return models.ValueMap(
        {
            f"{number:g}": models.ValueMappingResult(text=text, color=colour, index=index)
            for index, (number, (text, colour)) in enumerate(words.items())
        }
    )


class _Coloured(Builder[models.FieldColor]):
    def __init__(self, mode: str, colour: str | None = None) -> None:
        self._colour = models.FieldColor(models.FieldColorModeId(mode), colour)

    @override
    def build(self) -> models.FieldColor:
        return self._colour


_AS_BOUND = [
    models.DynamicConfigValue("custom.lineWidth", 1),
    models.DynamicConfigValue("custom.hideFrom", {"legend": True, "tooltip": False, "viz": False}),
    models.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [6, 6]}),
    models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": GREY}),
]
