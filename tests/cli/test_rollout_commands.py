"""`fieldwatch rollout …` on a real store: what a person reads, and how it ends."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from sqlalchemy import text

from monitor.cli import main
from monitor.domain import Role
from monitor.rollouts.plan import Risk
from monitor.rollouts.verdict import Outcome
from monitor.services import key_desk
from tests.monitor.rollouts.field import NAME, PLAN, Field

Run = Callable[..., tuple[int, str, str]]
EXAMPLE = Path(__file__).parents[2] / "examples" / "bears_rollout.yaml"


@pytest.fixture
def field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Field]:
    monkeypatch.setenv("FIELDWATCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FIELDWATCH_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    made = Field(tmp_path / "home")
    yield made
    made.close()


@pytest.fixture
def be(field: Field, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Show the key of a person from now on, or none."""

    def become(name: str | None) -> None:
        if name is None:
            monkeypatch.delenv("FIELDWATCH_KEY", raising=False)
            return
        now = field.context.clock()
        token = key_desk.create(field.context.engine, name, Role.OPERATOR, "test", now)
        monkeypatch.setenv("FIELDWATCH_KEY", token)

    return become


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        code = 0
        try:
            main(["rollout", *arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def parsed(run: Run, *arguments: str) -> Any:
    code, out, err = run(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def plan_file(folder: Path) -> Path:
    """Write the example's plan for the model that is there."""
    written = EXAMPLE.read_text()
    for old, new in (
        ("rollout: bears-v7", "rollout: bears-v1"),
        ('version: "7"', 'version: "1"'),
        ("truth: bear,", "truth: grizzly,"),
        ("prediction: bear,", "prediction: grizzly,"),
    ):
        assert old in written
        written = written.replace(old, new)
    plan = yaml.safe_load(written)
    # The made-up reference is too small for it to decide in time, and lint says so.
    plan["gates"] = [gate for gate in plan["gates"] if gate["id"] != "unlike_training"]
    file = folder / "plan.yaml"
    file.write_text(yaml.safe_dump(plan))
    return file


def test_a_plan_file_is_started_by_a_person_and_shown(
    field: Field, run: Run, be: Callable[[str | None], None], tmp_path: Path
) -> None:
    file = plan_file(tmp_path)
    code, _, err = run("start", str(file), "--reason", "new")
    assert code == 1
    assert "starting a rollout takes a person" in err
    be("ann")
    be("ben")
    code, out, err = run("start", str(file), "--reason", "new")
    assert code == 0, err
    assert "bears-v1 (attempt 1) has started: bears 1 in shadow" in out
    assert "▸shadow◂ → limited → gradual 5 %" in out
    assert "Then 1 must approve, none of anna, ben." in out
    [line] = parsed(run, "list")
    assert line["where"] == "shadow, running"
    code, out, _ = run("list")
    assert "bears-v1" in out
    code, _, err = run("start", str(file), "--reason", "again")
    assert code == 1
    assert "one at a time" in err


def test_a_rollout_is_approved_moved_and_played_again(
    field: Field, run: Run, be: Callable[[str | None], None]
) -> None:
    field.start()
    field.say(Outcome.PASS)
    field.look()
    code, out, _ = run("show", NAME)
    assert code == 0
    assert "For limited, 1 must approve" in out
    assert "what people are asked about: evidence" in out
    asked_on = parsed(run, "show", NAME)["asked_on"]
    assert [(each["gate"], each["outcome"]) for each in asked_on] == [
        ("agreement", "pass"),
        ("latency", "pass"),
        ("recording", "pass"),
        ("trial", "inconclusive"),
    ]
    digest = parsed(run, "show", NAME)["line"]["awaiting"]["evidence_hash"]
    assert f"rollout approve {NAME} --evidence {digest[:12]}" in out
    yes = ("approve", NAME, "--evidence", digest[:12], "--reason", "fine")
    assert "an approval takes a person" in run(*yes)[2]
    be("ann")
    assert "takes somebody else: ann wrote or started" in run(*yes)[2]
    be("ben")
    code, out, err = run(*yes)
    assert code == 0, err
    assert "approved by ben" in out
    assert field.look() == ["advanced"]
    code, out, _ = run("hold", NAME, "--reason", "fog")
    assert "on hold (operator)" in out
    assert parsed(run, "resume", NAME, "--reason", "over")["happened"] == ["resumed"]
    assert parsed(run, "heartbeat", NAME)["person"] == "ben"
    be(None)
    assert parsed(run, "step-down", NAME, "--reason", "fog")["happened"] == ["stepped_down"]
    assert parsed(run, "rollback", NAME, "--reason", "fog")["happened"] == ["rolled_back"]
    code, out, _ = run("show", NAME, "--replay")
    assert code == 0
    assert "transitions were reproduced; the hashes and the stored state agree" in out
    assert "decided again, the same" in out
    code, out, _ = run("abort", NAME, "--reason", "enough")
    assert "shadow stopped" in out
    code, _, err = run("hold", NAME, "--reason", "fog")
    assert code == 1
    assert f"An end is final; `fieldwatch rollout retry {NAME}`" in err


def test_a_tampered_row_is_named_and_exits_with_one(field: Field, run: Run) -> None:
    field.start()
    field.say(Outcome.PASS)
    field.look()
    with field.context.engine.begin() as conn:
        conn.execute(text("UPDATE rollout_events SET reason = 'all is well' WHERE sequence = 2"))
    code, out, _ = run("show", NAME, "--replay")
    assert code == 1
    assert "event 2 does not agree: its content is not what its hash covers" in out
    code, out, _ = run("show", NAME, "--replay", "--json")
    assert code == 1
    assert json.loads(out)["difference"]["row"] == "event 2"


def test_a_forced_advance_says_why_and_who(
    field: Field, run: Run, be: Callable[[str | None], None]
) -> None:
    field.start()
    field.beat()
    assert run("advance", NAME, "--force")[0] == 2
    assert "a forced advance takes a person" in run("advance", NAME, "--force", "--reason", "r")[2]
    be("ben")
    moved = parsed(run, "advance", NAME, "--force", "--reason", "the season ends")
    assert moved["happened"] == ["advance_forced", "advanced"]
    assert moved["rollout"]["line"]["stage"] == "limited"


def test_a_dossier_is_one_page(field: Field, run: Run, tmp_path: Path) -> None:
    field.start()
    page = tmp_path / "dossier.html"
    code, out, err = run("show", NAME, "--dossier", str(page))
    assert code == 0, err
    assert "Written:" in out
    assert NAME in page.read_text()
    assert parsed(run, "show", NAME, "--dossier", str(page))["written"] == str(page)


def test_status_has_a_line_for_each_rollout(
    field: Field, capsys: pytest.CaptureFixture[str]
) -> None:
    field.start()
    with pytest.raises(SystemExit):
        main(["status"])
    assert f"rollout {NAME} of bears 1: shadow, running since" in capsys.readouterr().out


def test_a_risk_that_nothing_would_show_is_named_by_status_and_show(
    field: Field, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    risks = (Risk(name="ranger ignores alerts"), Risk(name="night", signal="domain_drift"))
    field.start(msgspec.structs.replace(PLAN, risks=risks))
    with pytest.raises(SystemExit):
        main(["status"])
    out = capsys.readouterr().out
    assert "nothing watches for ranger ignores alerts" in out
    assert "night" not in out.partition("nothing watches for")[2].splitlines()[0]
    assert "nothing watches for: ranger ignores alerts" in run("show", NAME)[1]
