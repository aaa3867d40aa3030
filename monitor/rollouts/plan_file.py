"""From the data of a plan's file to the plan, naming everything that is wrong at once.

It checks shape: keys, types, units. Whether a plan makes sense is `monitor.rollouts.lint`'s to say.
"""

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec
from msgspec import UNSET, inspect

from monitor.errors import PlanInvalid
from monitor.rollouts.plan import RolloutPlan
from monitor.rollouts.plan_form import HINTS, NEEDED, Place, fixed_keys, place_of
from monitor.rollouts.plan_text import Syntax, parse
from monitor.rollouts.plan_words import (
    Misread,
    clock_time,
    days,
    number,
    seconds,
    shown,
    text_of,
    truth,
    whole_number,
)
from monitor.rollouts.remark import Remark
from monitor.rollouts.snapshot import Hours


def read_plan(text: str, syntax: Syntax) -> RolloutPlan:
    """Read a plan from the text of its file.

    Raises
    ------
    PlanInvalid
        It is no plan; every fault is named at once.
    """
    data, faults = parse(text, syntax)
    return plan_from(data, faults)


def plan_from(data: object, faults: Iterable[Remark] = ()) -> RolloutPlan:
    """Read a plan from data as YAML, TOML or JSON have it.

    Parameters
    ----------
    data
        Dictionaries, lists, text, numbers, truth values and None.
    faults
        What was found wrong before.

    Raises
    ------
    PlanInvalid
        It is no plan; every fault is named at once.
    """
    reader = _Reader(faults=list(faults))
    built = reader.value(inspect.type_info(RolloutPlan), data, "")
    if reader.faults:
        raise PlanInvalid(reader.faults)
    return msgspec.convert(built, RolloutPlan)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leaf:
    """A field, and where a file has it."""

    owner: type
    path: tuple[str, ...]
    """From the struct down to the field, through structs that share its table."""
    place: Place
    kind: inspect.Type
    required: bool

    @property
    def group(self) -> str | None:
        """Key of the table or list that it shares with others, if it does."""
        return str(self.place[0]) if len(self.place) == 2 else None

    @property
    def key(self) -> str | int:
        return self.place[-1]

    @property
    def optional(self) -> bool:
        return isinstance(self.kind, inspect.UnionType) and self.kind.includes_none


def _leaves(kind: inspect.StructType, owner: type, path: tuple[str, ...] = ()) -> Iterator[_Leaf]:
    for each in kind.fields:
        here = (*path, each.name)
        place = place_of(owner, ".".join(here))
        if place is None:
            continue
        if not place and isinstance(each.type, inspect.StructType):
            yield from _leaves(each.type, owner, here)
        else:
            yield _Leaf(owner=owner, path=here, place=place, kind=each.type, required=each.required)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """Reads on after a fault, so that one reading names them all; None stands for what failed."""

    faults: list[Remark] = field(default_factory=list)

    def value(self, kind: inspect.Type, value: object, place: str) -> object:
        """Read a value of any type."""
        try:
            match kind:
                case inspect.UnionType():
                    return self._union(kind, value, place)
                case inspect.StructType():
                    return self._struct(kind, _table(value), place)
                case inspect.VarTupleType():
                    return [
                        self.value(kind.item_type, each, f"{place}[{index}]")
                        for index, each in enumerate(_list(value))
                    ]
                case inspect.EnumType():
                    return _choice(value, [str(each.value) for each in kind.cls])
                case inspect.BoolType():
                    return truth(value)
                case inspect.IntType():
                    return whole_number(value)
                case inspect.FloatType():
                    return number(value)
                case _:
                    return text_of(value)
        except Misread as misread:
            self._fault(place, misread.cause, misread.way_out)
            return None

    def _struct(self, kind: inspect.StructType, table: Mapping[str, object], place: str) -> object:
        leaves = list(_leaves(kind, kind.cls))
        self._refuse_unknown(kind, leaves, table, place)
        groups = {
            group: self._group(group, leaves, table, place)
            for group in {leaf.group for leaf in leaves if leaf.group}
        }
        built: dict[str, object] = {}
        if isinstance(kind.tag_field, str):
            built[kind.tag_field] = kind.tag
        for leaf in leaves:
            source, around = table, place
            if leaf.group:
                around = _join(place, leaf.group)
                found_group = groups[leaf.group]
                if found_group is None:
                    continue
                source = found_group
            there = _join(around, leaf.key)
            found = source.get(str(leaf.key), UNSET)
            if found is UNSET and leaf.required and leaf.optional:
                found = None
            if found is UNSET:
                self._missing(leaf, there)
            else:
                _put(built, leaf.path, self._field(leaf, found, there))
        return built

    def _missing(self, leaf: _Leaf, place: str) -> None:
        """Name a field that nobody said and that has no default."""
        if leaf.required or (leaf.owner, leaf.path[-1]) in NEEDED:
            self._fault(place, "is missing", _example(leaf))

    def _field(self, leaf: _Leaf, value: object, place: str) -> object:
        name = leaf.path[-1]
        if value is None:
            if not leaf.optional:
                self._fault(place, "is empty", _example(leaf))
            return None
        try:
            if name.endswith("_s"):
                return seconds(value)
            if leaf.owner is Hours and name == "days":
                return days(value)
            if leaf.owner is Hours and name in ("start", "end"):
                return clock_time(value)
        except Misread as misread:
            self._fault(place, misread.cause, misread.way_out)
            return None
        return self.value(leaf.kind, value, place)

    def _group(
        self, group: str, leaves: list[_Leaf], table: Mapping[str, object], place: str
    ) -> Mapping[str, object] | None:
        """Give what several fields share, by key or index; None when it is absent or at fault."""
        value, there = table.get(group, UNSET), _join(place, group)
        if value is UNSET:
            return None
        keys = [leaf.key for leaf in leaves if leaf.group == group]
        if all(isinstance(key, int) for key in keys):
            if isinstance(value, list) and len(value) == len(keys):
                return {str(index): each for index, each in enumerate(value)}
            self._fault(there, f"is {shown(value)}", "Write the lower and the upper: [0.5, 2.0]")
            return None
        try:
            found = _table(value)
        except Misread as misread:
            self._fault(there, misread.cause, misread.way_out)
            return None
        for key in found.keys() - set(keys):
            self._fault(_join(there, key), "is an unknown key", _suggest(key, map(str, keys)))
        return found

    def _refuse_unknown(
        self,
        kind: inspect.StructType,
        leaves: list[_Leaf],
        table: Mapping[str, object],
        place: str,
    ) -> None:
        known = {leaf.group or str(leaf.key) for leaf in leaves}
        fixed = fixed_keys(kind.cls)
        for key, value in table.items():
            if key in known or key == kind.tag_field:
                continue
            if key not in fixed:
                self._fault(_join(place, key), "is an unknown key", _suggest(key, known))
            elif value != fixed[key]:
                way_out = f"It is always {fixed[key]!r}; say that, or leave it out"
                self._fault(_join(place, key), f"cannot be {shown(value)}", way_out)

    def _union(self, kind: inspect.UnionType, value: object, place: str) -> object:
        kinds = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
        if len(kinds) == 1:
            return self.value(kinds[0], value, place)
        tagged = {str(each.tag): each for each in kinds if isinstance(each, inspect.StructType)}
        tag_field = next(iter(tagged.values())).tag_field
        table = _table(value)
        if tag_field == "stage":
            tag, inner = _stage(table)
            if tag not in tagged:
                raise Misread(f"is the stage {shown(tag)}", _suggest(tag, tagged))
            return self.value(tagged[tag], inner, _join(place, tag))
        there = _join(place, str(tag_field))
        if tag_field not in table:
            self._fault(there, "is missing", _suggest("", tagged))
            return None
        try:
            return self._struct(tagged[_choice(table[str(tag_field)], tagged)], table, place)
        except Misread as misread:
            self._fault(there, misread.cause, misread.way_out)
            return None

    def _fault(self, place: str, cause: str, way_out: str) -> None:
        self.faults.append(Remark(place=place or "the file", cause=cause, way_out=f"{way_out}."))


def _put(built: dict[str, object], path: tuple[str, ...], value: object) -> None:
    for name in path[:-1]:
        inner = built.setdefault(name, {})
        assert isinstance(inner, dict)
        built = inner
    built[path[-1]] = value


def _table(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        said = "is empty" if value is None else f"is {shown(value)} where a table belongs"
        raise Misread(said, "Write `key: value`, a line each")
    if not all(isinstance(key, str) for key in value):
        raise Misread("has a key that is no text", "Put quotes around it")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise Misread(f"is {shown(value)} where a list belongs", "Write [first, second]")
    return value


def _stage(table: Mapping[str, object]) -> tuple[str, object]:
    if len(table) != 1:
        raise Misread(f"has {len(table)} keys", "Write one stage an item: `- shadow: {…}`")
    return next(iter(table.items()))


def _choice(value: object, known: Collection[str]) -> str:
    if not isinstance(value, str) or value not in known:
        word = value if isinstance(value, str) else ""
        raise Misread(f"cannot be {shown(value)}", _suggest(word, known))
    return value


def _join(place: str, key: str | int) -> str:
    if isinstance(key, int):
        return f"{place}[{key}]"
    key = key if len(key) <= 60 else f"{key[:60]}…"
    return f"{place}.{key}" if place else key


def _suggest(word: str, known: Iterable[str]) -> str:
    if word in HINTS:
        return HINTS[word]
    listed = sorted(known)
    close = difflib.get_close_matches(word[:60], listed, n=1)
    said = f"Known here: {', '.join(listed)}"
    return f"Did you mean {close[0]}? {said}" if close else said


def _example(leaf: _Leaf) -> str:
    key = leaf.key
    match leaf.kind:
        case _ if leaf.path[-1].endswith("_s"):
            return f"Say how long, with a unit: `{key}: 7d`"
        case inspect.StrType():
            return f"Say `{key}: …`, some text"
        case inspect.IntType() | inspect.FloatType():
            return f"Say `{key}: …`, a number"
        case inspect.VarTupleType():
            return f"Say `{key}:`, a list"
        case inspect.EnumType():
            return f"Say `{key}`: {', '.join(str(each.value) for each in leaf.kind.cls)}"
        case _:
            return f"Say `{key}:`, a table"
