"""Plans on the command line: an example to begin from, and whether a plan can work."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitor.cli import app, main
from monitor.commands.rollout_example import example_plan
from monitor.domain import Role
from monitor.store.keys import Keys
from tests.monitor.installation import Installation

EXAMPLE = Path(__file__).parents[2] / "examples/bears_rollout.yaml"


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    monkeypatch.setenv("FIELDWATCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Installation(tmp_path / "home")


def _run(*arguments: str) -> tuple[int, str]:
    found = CliRunner().invoke(app, list(arguments))
    return found.exit_code, found.stdout


def _plan(folder: Path, *changes: tuple[str, str]) -> Path:
    text = EXAMPLE.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file = folder / "plan.yaml"
    file.write_text(text)
    return file


def test_the_example_that_is_printed_is_the_one_beside_the_code() -> None:
    assert example_plan() == EXAMPLE.read_text()
    assert _run("rollout", "example") == (0, EXAMPLE.read_text())


def test_an_example_about_another_model_can_start_as_well(tmp_path: Path) -> None:
    file = tmp_path / "digits.yaml"
    file.write_text(_run("rollout", "example", "--model", "digits")[1])
    code, said = _run("rollout", "lint", str(file))
    assert code == 0
    assert "digits-v7 of digits, by anna" in said
    code, said = _run("rollout", "example", "--json", "--model", "digits")
    assert json.loads(said)["plan"] == file.read_text()


def test_a_model_cannot_be_called_anything(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["rollout", "example", "--model", "../x"])
    assert ended.value.code == 2
    assert "--model '../x' is not understood" in capsys.readouterr().err


def test_a_plan_that_can_work_is_shown_with_the_time_its_gates_take() -> None:
    code, said = _run("rollout", "lint", str(EXAMPLE))
    assert code == 0
    assert "gradual 5 %" in said
    assert "760 actions" in said
    assert "3.8 days" in said
    assert "It can start. Add `--model bears`" in said


def test_a_plan_that_cannot_work_says_why_and_fails(tmp_path: Path) -> None:
    file = _plan(tmp_path, ("steps: [5, 25, 50]", "steps: [1, 50]"), ("at: [5, 50]", "at: [1]"))
    code, said = _run("rollout", "lint", str(file))
    assert code == 1
    assert "error gates[1] in stages[2].gradual at 1 % action_rate needs 20" in said
    assert "It cannot start: 1 error" in said


def test_numbers_without_sense_are_named_and_not_timed(tmp_path: Path) -> None:
    file = _plan(tmp_path, ("episodes_per_day: 4000", "episodes_per_day: 0"))
    code, said = _run("rollout", "lint", str(file))
    assert code == 1
    assert "traffic.episodes_per_day is 0" in said
    assert "time to decide" not in said


def test_programs_read_the_same(tmp_path: Path) -> None:
    file = _plan(tmp_path, ("hold_out: 0.02", "hold_out: 0"), ("[5, 25, 50]", "[5, 25, 100]"))
    file.write_text(file.read_text().replace("at: [5, 50]", "at: [5]"))
    code, said = _run("rollout", "lint", str(file), "--json")
    found = json.loads(said)
    assert (code, found["can_start"], found["rollout"]) == (1, False, "bears-v7")
    assert [each["gravity"] for each in found["remarks"]][:2] == ["error", "warning"]
    never = [each for each in found["time_to_decide"] if each["days"] is None]
    assert [(each["gate"], each["share"], each["in_time"]) for each in never] == [
        ("action_rate", 100.0, False)
    ]
    assert len(found["plan_hash"]) == 64


@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_no_plan_is_listed_fault_by_fault(tmp_path: Path, as_json: bool) -> None:
    file = _plan(tmp_path, ("steps:", "stps:"), ("on_fail: step_down", "on_fail: stepdown"))
    code, said = _run("rollout", "lint", str(file), *(["--json"] if as_json else []))
    assert code == 1
    if as_json:
        found = json.loads(said)
        assert not found["can_start"]
        assert {each["place"] for each in found["remarks"]} == {
            "stages[2].gradual.stps",
            "stages[2].gradual.steps",
            "gates[4].on_fail",
        }
    else:
        assert "Did you mean steps?" in said
        assert "Did you mean step_down?" in said
        assert "is no plan yet" in said


def test_a_file_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["rollout", "lint", str(tmp_path / "plan.yaml")])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "cannot be read as a plan: No such file or directory" in said
    assert said.count("\n") == 1


def test_beside_the_model_labels_people_and_the_reference_are_judged(
    installation: Installation, tmp_path: Path
) -> None:
    installation.serve(certified=False)
    with installation.engine.begin() as conn:
        Keys(conn).create("ben", Role.OPERATOR, datetime(2026, 11, 1, tzinfo=UTC))
    file = _plan(tmp_path, ('version: "7"', "version: null"))
    code, said = _run("rollout", "lint", str(file), "--model", "bears")
    assert code == 1
    assert "the model's reference is uncertified" in said
    assert "asks for 2 people, and 1 could approve (not the author)" in said
    assert "levers[0].prediction the model knows no 'bear'" in said


def test_a_model_that_is_not_there_is_named(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["rollout", "lint", str(EXAMPLE), "--model", "wolves"])
    assert ended.value.code == 1
    assert "there is no trusted model wolves" in capsys.readouterr().err
