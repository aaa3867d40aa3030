"""Tables: series of now, a row for each set of labels, and what their columns look like."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from grafana_foundation_sdk.builders import common, table
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.grafana.boards.panels import (
    Mappings,
    Panel,
    Place,
    Query,
    dataquery,
    mapped,
    placed,
)

COLUMN = 50
"""Pixels a column has at least; Grafana's own 150 push columns out of narrow tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table: a label of its series, or the value of a query by its letter."""

    of: str
    title: str
    unit: str | None = None
    decimals: int | None = None
    words: Mappings | None = None
    steps: Sequence[tuple[float, str]] = ()
    width: int | None = None
    link: tuple[str, str] | None = None
    text_colours: Mapping[str, str] | None = None
    """Colours of the words a label holds."""


def sheet(
    place: Place, columns: Sequence[Column], *queries: Query, by: tuple[str, bool] | None = None
) -> Panel:
    """Show series of now as a table, one row for each set of labels.

    Parameters
    ----------
    columns
        From left to right; anything else the series have is left out.
    by
        Title of the column the rows are sorted by, and whether the greatest comes first.
    """
    panel = table.Panel().show_header(True).cell_height(shapes.TableCellHeight.SM).min_width(COLUMN)
    if by is not None:
        title, descending = by
        sort = common.TableSortByFieldState().display_name(title).desc(descending)
        panel = panel.sort_by([sort])
    panel = placed(panel, place)
    for ref, query in zip(ascii_uppercase, queries, strict=False):
        target = dataquery(query, ref).instant().format(PromQueryFormat.TABLE)
        panel = panel.with_target(target)
    names = {each.of: each for each in columns}
    if len(queries) == 1:  # the only value has no letter
        names = {("Value" if of == "A" else of): each for of, each in names.items()}
    else:
        panel = panel.with_transformation(models.DataTransformerConfig("merge", options={}))
        names = {(f"Value #{of}" if len(of) == 1 else of): each for of, each in names.items()}
        # Where all queries but one find nothing, Grafana gives that one no letter.
        names |= {"Value": names["Value #A"]} if "Value #A" in names else {}
    panel = panel.with_transformation(_filtered(list(names))).with_transformation(
        models.DataTransformerConfig(
            "organize",
            options={
                "excludeByName": {},
                "indexByName": {name: place for place, name in enumerate(names)},
                "renameByName": {name: each.title for name, each in names.items()},
            },
        )
    )
    for each in columns:
        panel = panel.override_by_name(each.title, _of_column(each))
    return panel


def _filtered(names: list[str]) -> models.DataTransformerConfig:
    """Keep these fields alone: which labels a scrape adds is not known here."""
    include = {"include": {"names": names}}
    return models.DataTransformerConfig("filterFieldsByName", options=include)


def _of_column(column: Column) -> list[models.DynamicConfigValue]:
    from_left = column.words is not None or (column.unit or "").startswith("dateTime")
    found = [
        models.DynamicConfigValue(name, value)
        for name, value in (
            ("unit", column.unit),
            ("decimals", column.decimals),
            ("custom.width", column.width),
            ("custom.align", "left" if from_left else None),
            ("noValue", "–"),
        )
        if value is not None
    ]
    if column.words is not None:
        found.append(models.DynamicConfigValue("mappings", [mapped(column.words)]))
    if column.text_colours is not None:
        found.append(models.DynamicConfigValue("mappings", [_dyed(column.text_colours)]))
    if column.link is not None:
        title, url = column.link
        link = {"title": title, "url": url, "targetBlank": True}
        found.append(models.DynamicConfigValue("links", [link]))
    if column.steps:
        found.append(models.DynamicConfigValue("thresholds", _threshold_document(column.steps)))
    if column.words is not None or column.text_colours is not None or column.steps:
        found.append(models.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
        colour = {"mode": "thresholds"}
        found.append(models.DynamicConfigValue("color", colour))
    return found


def _threshold_document(steps: Sequence[tuple[float, str]]) -> dict[str, object]:
    above = [{"value": value, "color": colour} for value, colour in steps]
    return {"mode": "absolute", "steps": [{"value": None, "color": "text"}, *above]}


def _dyed(colours: Mapping[str, str]) -> models.ValueMap:
    return models.ValueMap(
        {
            word: models.ValueMappingResult(text=word, color=colour, index=index)
            for index, (word, colour) in enumerate(colours.items())
        }
    )
