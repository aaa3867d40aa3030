"""The README's table of gates says what the code has."""

import re
from pathlib import Path

import msgspec
import pytest

from monitor.rollouts.gate import Gate, GateRules
from monitor.services.gates.limits import limit_of
from monitor.services.gates.show import metric_of

README = Path(__file__).parents[2] / "README.md"
KINDS: tuple[type[GateRules], ...] = tuple(GateRules.__subclasses__())
SHARED = {field.name for field in msgspec.structs.fields(GateRules)}


def rows() -> dict[str, list[str]]:
    """Read the table: cells by metric."""
    text = README.read_text().partition("### Gates")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {cell[0].strip("`"): cell for cell in cells if cell[0] != "`metric`"}


def tag(kind: type[GateRules]) -> str:
    return str(kind.__struct_config__.tag)


def test_every_gate_has_its_row_and_no_other_is_there() -> None:
    assert set(rows()) == {tag(kind) for kind in KINDS}
    assert set(KINDS) == set(Gate.__args__)


@pytest.mark.parametrize("kind", KINDS, ids=tag)
def test_a_gates_options_are_those_it_takes(kind: type[GateRules]) -> None:
    _, unit, assumes, promises, options = rows()[tag(kind)]
    own = {field.name for field in msgspec.structs.fields(kind)} - SHARED

    assert set(re.findall(r"`(\w+)`", options)) == own
    assert unit
    assert assumes
    assert promises


def test_the_options_of_all_gates_are_named() -> None:
    text = README.read_text().partition("### Gates")[2].partition("- **Looked at always")[0]

    assert {f"`{name}`" for name in SHARED} <= set(re.findall(r"`\w+`", text))


@pytest.mark.parametrize("kind", KINDS, ids=tag)
def test_every_gate_says_its_limit_and_its_metric(kind: type[GateRules]) -> None:
    given: dict[str, object] = {"id": "g", "on_fail": "hold", "min_n": 1, "metric": tag(kind)}
    for field in msgspec.structs.fields(kind):
        if field.required and field.name not in given:
            given[field.name] = "up" if field.type is str else 0.5
    gate: Gate = msgspec.convert(given, Gate)

    assert type(gate) is kind
    assert limit_of(gate)
    assert metric_of(gate) == tag(kind)
