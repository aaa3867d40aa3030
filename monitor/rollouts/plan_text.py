"""The text of a plan's file as plain data: YAML or TOML, without their surprises.

YAML is read as its version 1.2 has it, whatever PyYAML resolves: only ``true`` and ``false`` are
truth values (``no`` is Norway, ``on`` is a word), ``17:00`` is text and not 1,020, a date is text,
and a number with a leading zero is a name. Keys are text and occur once. Tags, anchors and aliases
are refused: a plan has no use for them, and a few lines of them can stand for billions.
"""

import datetime
import re
import tomllib
from enum import StrEnum
from typing import Any

import yaml
from typing_extensions import override

from monitor.errors import PlanInvalid
from monitor.rollouts.remark import Remark

DEEPEST = 20
"""Levels of nesting; a plan needs nine."""

_WORDS: dict[str, bool | None] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")


class Syntax(StrEnum):
    """How a plan is written."""

    YAML = "YAML"
    TOML = "TOML"


def parse(text: str, syntax: Syntax) -> tuple[object, tuple[Remark, ...]]:
    """Read text as dictionaries, lists, text, numbers, truth values and None.

    Returns
    -------
    The data, and what is wrong with it though it could be read: keys that occur twice, whose first
    value is kept.

    Raises
    ------
    PlanInvalid
        It is not of that syntax at all.
    """
    return _toml(text) if syntax is Syntax.TOML else _yaml(text)


def _toml(text: str) -> tuple[object, tuple[Remark, ...]]:
    try:
        return _clock_times(tomllib.loads(text), 0), ()
    except RecursionError:
        raise _too_deep("the file") from None
    except ValueError as error:
        raise _no_syntax(Syntax.TOML, "the file", str(error).rstrip(".")) from error


def _clock_times(value: object, depth: int) -> object:
    """Write TOML's local times as a plan has them, ``HH:MM``."""
    if depth > DEEPEST:
        raise _too_deep("the file")
    if isinstance(value, dict):
        return {key: _clock_times(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [_clock_times(each, depth + 1) for each in value]
    if isinstance(value, datetime.time):
        return f"{value:%H:%M}" if value == value.replace(second=0, microsecond=0) else str(value)
    return value


def _yaml(text: str) -> tuple[object, tuple[Remark, ...]]:
    faults: list[Remark] = []
    try:
        loader = _PlainLoader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
        return None if node is None else _data(node, "", faults), tuple(faults)
    except yaml.MarkedYAMLError as error:
        raise _no_syntax(Syntax.YAML, _line(error.problem_mark), _problem(error)) from error
    except yaml.reader.ReaderError as error:
        cause = f"holds the character U+{int(error.character):04X}, which no text has"
        raise _no_syntax(Syntax.YAML, f"character {error.position + 1}", cause) from error


class _PlainLoader(yaml.SafeLoader):
    """Composes nodes, and only those that a person would write in a plan."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    @override
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _refused("anchors (&name) and aliases (*name) are not read", event)
        if getattr(event, "tag", None):
            raise _refused(f"the tag {event.tag} is not read", event)
        if self._depth >= DEEPEST:
            raise _refused("nested too deep for a plan", event)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def _data(node: yaml.Node, place: str, faults: list[Remark]) -> object:
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, place, faults)
    if isinstance(node, yaml.SequenceNode):
        return [_data(each, f"{place}[{i}]", faults) for i, each in enumerate(node.value)]
    assert isinstance(node, yaml.ScalarNode)
    return node.value if node.style else plain(node.value)


def _mapping(node: yaml.MappingNode, place: str, faults: list[Remark]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _refused("a list or a table cannot be a key", key)
        where = f"{place}.{key.value}" if place else str(key.value)
        if key.value in found:
            faults.append(
                Remark(
                    place=where,
                    cause=f"occurs again in {_line(key.start_mark)}",
                    way_out="Keep one of them.",
                )
            )
        else:
            found[key.value] = _data(value, where, faults)
    return found


def plain(word: str) -> object:
    """Say what an unquoted word of YAML stands for: nothing, truth, a number, or itself.

    Examples
    --------
    >>> [plain(word) for word in ("no", "17:00", "007", "2026-05-04", "0.5", "7", "~")]
    ['no', '17:00', '007', '2026-05-04', 0.5, 7, None]
    """
    if word in _WORDS:
        return _WORDS[word]
    if _WHOLE.fullmatch(word):
        return int(word)
    if _NUMBER.fullmatch(word):
        return float(word)
    return word


def _refused(problem: str, at: yaml.Event | yaml.Node) -> PlanInvalid:
    return _no_syntax(Syntax.YAML, _line(at.start_mark), problem)


def _line(mark: Any) -> str:
    return "the file" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}"


def _problem(error: yaml.MarkedYAMLError) -> str:
    """Say in one line what PyYAML says in four."""
    said = str(error.problem or "cannot be read").replace("\n", " ")
    if error.context == "expected a single document in the stream":
        return "it holds a second document"
    if "found character '\\t'" in said or "'\\t' that cannot start" in said:
        return "a tab stands where YAML wants blanks"
    return said


def _no_syntax(syntax: Syntax, place: str, cause: str) -> PlanInvalid:
    return PlanInvalid(
        (
            Remark(
                place=place,
                cause=f"is not {syntax} that a plan may have: {cause}",
                way_out="`fieldwatch rollout example` prints a plan to begin from.",
            ),
        )
    )


def _too_deep(place: str) -> PlanInvalid:
    return PlanInvalid(
        (
            Remark(
                place=place,
                cause="is nested too deep for a plan",
                way_out=f"A plan needs less than {DEEPEST} levels.",
            ),
        )
    )
