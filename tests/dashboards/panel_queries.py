"""Every query of every dashboard and rule, as Grafana and Prometheus would ask it.

For tests against a real Prometheus: `panel_queries` has the variables filled in, `rule_queries`
names the series behind each rule, and `EMPTY_IN_HEALTH` says which panels show nothing while all is
well, and what fills them.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import yaml

DASHBOARDS = Path(__file__).parents[2] / "dashboards"
BOARDS = sorted((DASHBOARDS / "grafana").glob("*.json"))
RULES = sorted((DASHBOARDS / "prometheus" / "rules").glob("*.yml"))

EVERYTHING: Mapping[str, str] = {
    "model": ".+",
    "segment": ".+",
    "job": ".+",
    "instance": ".+",
    "__rate_interval": "1m",
    "__interval": "15s",
    "__range": "1h",
}
"""What the variables stand for when nothing is chosen."""

ALARM = "an alarm that stands open"
FIRING = "an alert that fires"
DIFFERENCE = "a window that differs from the reference"
ROLLOUT = "a rollout that runs"
COMPARED = "a rollout whose gates measure agreement and action rate"
SUPERVISED = "a rollout in a stage that asks for a supervisor"
HELD = "a rollout that is held"
ROLLED_BACK = "a rollout that was rolled back"
REVIEWS = "an open item of the review queue"
REPORTS = "Evidently's reports on schedule, and one that was made"
KNOWN = "decisions, or an estimate, that make the accuracy known"
SEGMENTS = "segments in the monitor's settings, and events that carry them"

EMPTY_IN_HEALTH: Mapping[str, str] = {
    "overview / Firing alerts": FIRING,
    "overview / Open alarms": ALARM,
    "overview / Oldest review": REVIEWS,
    "overview / Models / B": ROLLOUT,
    "overview / Models / F": KNOWN,
    "overview / Models / G": COMPARED,
    "overview / Accuracy, with its 95 % interval": KNOWN,
    "domain-shift / It began": ALARM,
    "domain-shift / Open alarms": ALARM,
    "domain-shift / Alarms": ALARM,
    "domain-shift / What differs by more than chance": DIFFERENCE,
    "domain-shift / Classes and segments": DIFFERENCE,
    "domain-shift / Segments: the strongest value of each": SEGMENTS,
    "domain-shift / Segment values watched": SEGMENTS,
    "domain-shift / variable segment": SEGMENTS,
    "rollout / Last attempt": ROLLOUT,
    "rollout / Supervisor silent": SUPERVISED,
    "rollout / Last rollback": ROLLED_BACK,
    "rollout / Stage and status / B": ROLLOUT,
    "rollout / What the gates of this step say": ROLLOUT,
    "rollout / What each gate said": ROLLOUT,
    "rollout / Agreement with people": COMPARED,
    "rollout / Actions of the model for one of people": COMPARED,
    "rollout / Held for": HELD,
    "rollout / Supervisor": SUPERVISED,
    "monitor / Reports by outcome": REPORTS,
    "monitor / Age of the last report, in intervals": REPORTS,
    "monitor / Oldest review": REVIEWS,
    "monitor / Oldest review, by reason": REVIEWS,
    "monitor / Reviews waiting, by reason": REVIEWS,
    **{f"{path.stem} / annotation Firing alerts": FIRING for path in BOARDS},
    **{f"{path.stem} / annotation Rollbacks": ROLLED_BACK for path in BOARDS},
}
"""What shows nothing while all is well, and the fault or event that fills it: a panel, or one query
of it; as `PanelQuery.name` has it, with or without the letter."""

UNREAD_IN_HEALTH: Mapping[str, str] = {
    "fieldwatch_accuracy": KNOWN,
    "fieldwatch_human_agreement": COMPARED,
    "fieldwatch_action_rate_ratio": COMPARED,
    "fieldwatch_rollback_timestamp_seconds": ROLLOUT,
    "fieldwatch_rollout_hold": ROLLOUT,
    "fieldwatch_gate_outcome": ROLLOUT,
    "fieldwatch_supervisor_last_seen_timestamp_seconds": SUPERVISED,
    "fieldwatch_supervisor_limit_seconds": SUPERVISED,
    "fieldwatch_review_oldest_timestamp_seconds": REVIEWS,
}
"""Series that rules read and that are absent while all is well, and what brings them; what is
recorded of them is absent as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelQuery:
    """One query of one panel; a variable and an annotation of a board count as panels of it."""

    board: str
    panel: str
    ref: str
    expression: str
    instant: bool
    """Whether it asks for now alone, rather than for a stretch of time."""

    @property
    def name(self) -> str:
        """Which query it is, for people."""
        return f"{self.board} / {self.panel} / {self.ref}"

    @property
    def fault(self) -> str | None:
        """What must happen before it finds anything; ``None`` if it always must find something."""
        panel = self.name.rpartition(" / ")[0]
        return EMPTY_IN_HEALTH.get(self.name, EMPTY_IN_HEALTH.get(panel))


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleQuery:
    """The expression of one rule."""

    name: str
    alerts: bool
    """Whether it fires, and so is empty in health; else it is recorded."""
    expression: str
    series: tuple[str, ...]
    """Selectors of all series it reads: each must find something where its condition does not."""

    def fault_of(self, selector: str) -> str | None:
        """Say what must happen before a series of it exists; ``None`` if it always must exist."""
        name = re.split(r"[{\[]", selector)[0]
        return UNREAD_IN_HEALTH.get(name.removeprefix("model:").removesuffix(":max"))


def panel_queries(variables: Mapping[str, str] = EVERYTHING) -> tuple[PanelQuery, ...]:
    """List the queries of all boards.

    Parameters
    ----------
    variables
        What is filled in for each variable, without ``$``.
    """
    return tuple(
        found for path in BOARDS for found in _of_board(json.loads(path.read_text()), variables)
    )


def rule_queries() -> tuple[RuleQuery, ...]:
    """List the expressions of all rules, in the order of their files."""
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return tuple(
        RuleQuery(
            name=rule.get("alert", rule.get("record")),
            alerts="alert" in rule,
            expression=rule["expr"].strip(),
            series=tuple(dict.fromkeys(selectors(rule["expr"]))),
        )
        for group in groups
        for rule in group["rules"]
    )


def selectors(expression: str) -> Iterator[str]:
    """Yield the selector of every series that an expression reads, without its range."""
    for node in _vectors(promql_parser.parse(expression)):
        yield node.prettify().partition(" offset ")[0]


def names(expression: str) -> Iterator[str]:
    """Yield the name of every series that an expression reads."""
    for node in _vectors(promql_parser.parse(expression)):
        yield str(node.name)


def fill(text: str, variables: Mapping[str, str] = EVERYTHING) -> str:
    """Fill the variables in, ``$name`` and ``${name}`` alike.

    Raises
    ------
    KeyError
        If one is not known.
    """
    return re.sub(r"\$(?:\{([a-z_]\w*)\}|([a-z_]\w*))", lambda m: variables[m[1] or m[2]], text)


def _of_board(board: Mapping[str, Any], variables: Mapping[str, str]) -> Iterator[PanelQuery]:
    name = board["uid"].removeprefix("fieldwatch-")
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield PanelQuery(
                board=name,
                panel=panel["title"],
                ref=target["refId"],
                expression=fill(target["expr"], variables),
                instant=bool(target.get("instant")),
            )
    for each in board["annotations"].get("list", ()):
        yield PanelQuery(
            board=name,
            panel=f"annotation {each['name']}",
            ref="A",
            expression=fill(each["expr"], variables),
            instant=False,
        )
    for each in board["templating"]["list"]:
        if each["type"] == "query":
            series = re.fullmatch(r"label_values\((.+), \w+\)", each["query"])
            assert series is not None, each["query"]
            yield PanelQuery(
                board=name,
                panel=f"variable {each['name']}",
                ref="A",
                expression=fill(series[1], variables),
                instant=True,
            )


def _vectors(node: object) -> Iterator[promql_parser.VectorSelector]:
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for part in ("vector_selector", "expr", "lhs", "rhs", "param"):
        yield from _vectors(getattr(node, part)) if hasattr(node, part) else ()
    for argument in getattr(node, "args", None) or ():
        yield from _vectors(argument)
