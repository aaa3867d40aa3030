"""The numbers of the alerting rules, read from them: a panel's line is where its alert fires."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import promql_parser
import yaml

RULES = Path(__file__).parents[2] / "prometheus" / "rules"


def limit(alert: str) -> float:
    """Read the number an alert compares its series with.

    Parameters
    ----------
    alert
        Name of the alert; of several numbers that differ none is the limit.

    Raises
    ------
    KeyError
        If there is no such alert.
    ValueError
        If it compares with no number, or with different ones.
    """
    numbers = set(compared(alert))
    if len(numbers) != 1:
        raise ValueError(f"{alert} compares with {sorted(numbers) or 'no number'}: name one")
    return numbers.pop()


def compared(alert: str) -> tuple[float, ...]:
    """Read all numbers an alert compares with, in the order they are written."""
    return tuple(_compared(promql_parser.parse(expressions()[alert])))


def constant(record: str) -> float:
    """Read the number a recording rule stands for, such as ``vector(0.8)``."""
    parsed = promql_parser.parse(expressions()[record])
    if not isinstance(parsed, promql_parser.Call) or len(parsed.args) != 1:
        raise ValueError(f"{record} is no constant")
    return _number(parsed.args[0])


@cache
def expressions() -> dict[str, str]:
    """Read the expression of every rule, by the name of its alert or record."""
    groups = [group for path in sorted(RULES.glob("*.yml")) for group in _groups(path)]
    return {
        rule.get("alert", rule.get("record", "")): rule["expr"]
        for group in groups
        for rule in group["rules"]
    }


def _groups(path: Path) -> list[dict[str, list[dict[str, str]]]]:
    found: list[dict[str, list[dict[str, str]]]] = yaml.safe_load(path.read_text())["groups"]
    return found


def _compared(node: object) -> Iterator[float]:
    if isinstance(node, promql_parser.ParenExpr | promql_parser.AggregateExpr):
        yield from _compared(node.expr)
    if not isinstance(node, promql_parser.BinaryExpr):
        return
    if str(node.op).lower() in {"and", "or", "unless"}:
        yield from _compared(node.lhs)
        yield from _compared(node.rhs)
    elif str(node.op) in {">", "<", ">=", "<=", "==", "!="}:
        try:
            yield _number(node.rhs)
        except ValueError:
            return


def _number(node: object) -> float:
    """Calculate a number that is written out, such as ``3 * 86400``."""
    if isinstance(node, promql_parser.NumberLiteral):
        return float(node.val)
    if isinstance(node, promql_parser.BinaryExpr) and str(node.op) == "*":
        return _number(node.lhs) * _number(node.rhs)
    raise ValueError(f"{node} is not a number")
