"""Files of plans: what they say is read, and whatever they say wrongly is named, all at once."""

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import PlanInvalid, PlanUnreadable
from monitor.rollouts.gate import ActionRateGate, OutOfDomainGate
from monitor.rollouts.plan import FullStage, LimitedStage
from monitor.rollouts.plan_file import plan_from, read_plan
from monitor.rollouts.plan_text import DEEPEST, Syntax, parse
from monitor.rollouts.remark import Remark
from monitor.services.rollouts.read_plan import LARGEST, read_plan_file

EXAMPLE = Path(__file__).parents[2] / "examples/bears_rollout.yaml"
TEXT = EXAMPLE.read_text()
DATA, _ = parse(TEXT, Syntax.YAML)


def _example() -> dict[str, Any]:
    assert isinstance(DATA, dict)
    return copy.deepcopy(DATA)


def _faults(read: Callable[[], object]) -> list[str]:
    with pytest.raises(PlanInvalid) as caught:
        read()
    return [str(fault) for fault in caught.value.faults]


def _faults_of(data: object) -> list[str]:
    return _faults(lambda: plan_from(data))


def test_the_example_says_what_it_means() -> None:
    plan = read_plan_file(EXAMPLE)
    assert (plan.name, plan.version, plan.episode_gap_s) == ("bears-v7", "7", 60.0)
    limited, full = plan.stages[1], plan.stages[3]
    assert isinstance(limited, LimitedStage)
    assert isinstance(full, FullStage)
    (hours,) = limited.scope.hours
    assert (hours.days, hours.start, hours.end) == ((0, 1, 2, 3, 4), "08:00", "17:00")
    assert (limited.scope.actions_per_day, limited.scope.heartbeat_s) == (40, 600.0)
    assert full.pace.min_duration_s == 14 * 86_400
    ratio, flagged = plan.gates[1], plan.gates[2]
    assert isinstance(ratio, ActionRateGate)
    assert isinstance(flagged, OutOfDomainGate)
    assert (ratio.low, ratio.high) == (0.5, 2.0)
    assert (flagged.fast_window_s, flagged.fast_min_n, flagged.fast_max) == (600.0, 50, 0.5)


def test_toml_says_the_same(tmp_path: Path) -> None:
    file = tmp_path / "bears.toml"
    file.write_text(_as_toml(_example()))
    assert read_plan_file(file) == read_plan_file(EXAMPLE)


def _as_toml(data: dict[str, Any]) -> str:
    def word(value: object) -> str:
        if isinstance(value, dict):
            inner = ", ".join(f"{key} = {word(each)}" for key, each in value.items())
            return "{" + inner + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(word, value)) + "]"
        if value == "17:00":
            return "17:00:00"  # a local time, as TOML has them
        return msgspec.json.encode(value).decode()

    return "\n".join(f"{key} = {word(value)}" for key, value in data.items())


def test_every_fault_is_named_at_once_with_its_place_and_the_way_out() -> None:
    data = _example()
    data["objectve"] = data.pop("objective")
    data["version"] = 7
    data["hold_out"] = "2%"
    data["approval_valid"] = 72
    data["stages"][1]["limited"]["windows"][0]["from"] = "8 am"
    data["stages"][1]["limited"]["windows"][0]["days"] = "mon-fry"
    data["stages"][2]["gradul"] = data["stages"][2].pop("gradual")
    del data["stages"][0]["shadow"]["max_duration"]
    data["gates"][0]["metric"] = "human_agrement"
    data["gates"][1]["bounds"] = 2
    data["gates"][1]["min_events"] = {"treatment": 23, "control": 33}
    data["gates"][2]["fast"] = {"min_n": 50, "maximum": 0.5}
    data["gates"][3]["on_fail"] = "rolback"
    del data["gates"][4]["min_n"]
    data["risks"] = "none"
    faults = _faults_of(data)
    expected = (
        "objective: is missing. Say `objective:`, a table.",
        "objectve: is an unknown key. Did you mean objective?",
        'version: is the number 7 where text belongs. If it is a name, put quotes around it: "7".',
        "hold_out: is '2%' where a number belongs. Write a number without the sign;",
        "approval_valid: is the number 72, without a unit. Write a number with its unit: 30s,",
        "stages[1].limited.windows[0].from: is '8 am', which is no time of day.",
        "stages[1].limited.windows[0].days: is 'mon-fry', which names no days.",
        "stages[2]: is the stage 'gradul'. Did you mean gradual?",
        "stages[0].shadow.max_duration: is missing. Say how long, with a unit",
        "gates[0].metric: cannot be 'human_agrement'. Did you mean human_agreement?",
        "gates[1].bounds: is the number 2. Write the lower and the upper: [0.5, 2.0].",
        "gates[1].min_events: is an unknown key. Say min_n: the actions in both arms together.",
        "gates[2].fast.maximum: is an unknown key. Did you mean max?",
        "gates[2].fast.window: is missing. Say how long, with a unit",
        "gates[3].on_fail: cannot be 'rolback'. Did you mean rollback?",
        "gates[4].min_n: is missing. Say `min_n: …`, a number.",
        "risks: is 'none' where a list belongs. Write [first, second].",
    )
    for beginning in expected:
        assert any(fault.startswith(beginning) for fault in faults), (beginning, faults)
    assert len(faults) == len(expected)


def test_what_cannot_be_otherwise_may_be_said_and_not_changed() -> None:
    data = _example()
    data["gates"][1] |= {"vs": "baseline", "on_inconclusive": "hold"}
    assert plan_from(data) == read_plan_file(EXAMPLE)
    data["gates"][1] |= {"vs": "last week", "on_inconclusive": "advance"}
    assert _faults_of(data) == [
        "gates[1].vs: cannot be 'last week'. It is always 'baseline'; say that, or leave it out.",
        "gates[1].on_inconclusive: cannot be 'advance'. It is always 'hold'; say that, or leave it "
        "out.",
    ]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a: no", "no"),
        ("a: off", "off"),
        ("a: 17:00", "17:00"),
        ("a: 2026-05-04", "2026-05-04"),
        ("a: 0755", "0755"),
        ("a: 1_000", "1_000"),
        ("a: 0x1F", "0x1F"),
        ("a: .inf", ".inf"),
        ("a: 1e3", 1000.0),
        ('a: "7"', "7"),
        ("a: true", True),
        ("a:", None),
    ],
)
def test_yaml_has_no_surprises(written: str, meant: object) -> None:
    data, faults = parse(written, Syntax.YAML)
    assert (data, faults) == ({"a": meant}, ())


def test_keys_are_text_whatever_they_look_like() -> None:
    data, _ = parse("on: 1\n1: 2\nnull: 3", Syntax.YAML)
    assert data == {"on": 1, "1": 2, "null": 3}


def test_a_key_that_occurs_twice_is_named_beside_the_other_faults() -> None:
    faults = _faults(lambda: read_plan(TEXT + "\nunit: site\nhold: 1\n", Syntax.YAML))
    lines = TEXT.count("\n")
    assert faults == [
        f"unit: occurs again in line {lines + 2}, column 1. Keep one of them.",
        "hold: is an unknown key. Did you mean hold_out? Known here: " + faults[1][60:],
    ]


BOMB = "a: &a [x, x]\n" + "".join(
    f"{after}: &{after} [*{name}, *{name}]\n"
    for name, after in zip("abcdefghij", "bcdefghijk", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "line 1, column 4: is not YAML that a plan may have: anchors"),
        ("a: *b", "line 1, column 4: is not YAML that a plan may have: anchors"),
        ("a: !!python/object/apply:os.system [ls]", "the tag tag:yaml.org,2002:python/object"),
        ("a: !!binary aGk=", "the tag tag:yaml.org,2002:binary is not read"),
        ("[" * 400, "nested too deep"),
        ("- " * 2_000 + "x", "nested too deep"),
        ("a: {" * 2_000, "nested too deep"),
        ("? [a, b]\n: 1", "a list or a table cannot be a key"),
        ("a: 1\n---\na: 2", "it holds a second document"),
        ("a: 1\n\tb: 2", "is not YAML that a plan may have"),
        ("a: 'x", "unexpected end of stream"),
        ("\x00\x01", "character 1: is not YAML that a plan may have: holds the character U+0000"),
        ("%YAML 9.9\n---\na: 1", "is not YAML that a plan may have"),
    ],
)
def test_hostile_yaml_is_refused_quickly_and_in_words(text: str, said: str) -> None:
    began = time.perf_counter()
    (fault,) = _faults(lambda: read_plan(text, Syntax.YAML))
    assert said in fault
    assert time.perf_counter() - began < 2.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = " + "[" * 60_000, "the file: is nested too deep"),
        ("a = " + "[" * (DEEPEST + 5) + "]" * (DEEPEST + 5), "the file: is nested too deep"),
        ("a = 1\na = 2", "Cannot overwrite a value (at end of document)"),
        ("a: 1", "the file: is not TOML that a plan may have"),
    ],
)
def test_hostile_toml_is_refused_quickly_and_in_words(text: str, said: str) -> None:
    (fault,) = _faults(lambda: read_plan(text, Syntax.TOML))
    assert said in fault


@pytest.mark.parametrize("text", ["", "# nothing\n", "7", "[]", "a"])
def test_a_file_that_holds_no_table_says_so(text: str) -> None:
    (fault,) = _faults(lambda: read_plan(text, Syntax.YAML))
    assert fault.startswith("the file: is ")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("plan.json", b"{}", "its name ends in '.json'"),
        ("plan", b"", "its name ends in 'nothing'"),
        ("plan.yaml", b"\xff\xfe\x00a", "byte 1 is no UTF-8"),
        ("plan.yaml", b"a: " + b"x" * LARGEST, "it is larger than 128 KiB"),
        ("folder.yaml", None, "Is a directory"),
        ("absent.yaml", ..., "No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_opened_as_text_says_why(
    tmp_path: Path, name: str, content: Any, said: str
) -> None:
    file = tmp_path / name
    if content is None:
        file.mkdir()
    elif content is not ...:
        file.write_bytes(content)
    with pytest.raises(PlanUnreadable, match=said):
        read_plan_file(file)


def test_a_byte_order_mark_and_windows_lines_are_no_matter(tmp_path: Path) -> None:
    file = tmp_path / "plan.YML"
    file.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    assert read_plan_file(file) == read_plan_file(EXAMPLE)


@pytest.mark.parametrize("number", ["1e999", "9" * 400, "-9007199254740994"])
def test_a_number_of_no_sensible_size_is_refused(number: str) -> None:
    text = TEXT.replace("hold_out: 0.02", f"hold_out: {number}")
    (fault,) = _faults(lambda: read_plan(text, Syntax.YAML))
    assert fault.startswith("hold_out: is ")
    assert len(fault) < 120


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_whatever_stands_anywhere_in_a_plan_is_read_or_refused_in_words(
    data: st.DataObject,
) -> None:
    plan = _example()
    place: Any = plan
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(junk)
    refused: tuple[Remark, ...] = ()
    try:
        plan_from(plan)
    except PlanInvalid as error:
        refused = error.faults
    assert all(fault.place and fault.cause and fault.way_out for fault in refused)


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    for syntax in Syntax:
        with pytest.raises(PlanInvalid):
            read_plan(text, syntax)


def test_plain_yaml_written_by_others_reads_alike() -> None:
    assert plan_from(yaml.safe_load(TEXT)) == read_plan_file(EXAMPLE)
