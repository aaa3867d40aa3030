"""The command line on a real installation: what it prints, and how it ends."""

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from monitor.cli import main
from monitor.domain import Person, Role, Status
from monitor.services import key_desk, kill_switch
from monitor.services.assess import assess
from monitor.services.ingest import ingest
from monitor.store.bootstrap import ensure_admin_key
from monitor.store.engine import reading
from monitor.store.keys import Keys
from tests.monitor.installation import Installation
from tests.templates import new_folder

HEAVY = (
    "numpy",
    "pyarrow",
    "scipy",
    "sqlalchemy",
    "pydantic",
    "fastapi",
    "httpx",
    "deltalake",
    "onnxruntime",
    "apprise",
    "apscheduler",
    "torch",
)
COMMANDS = {
    "import",
    "drill",
    "up",
    "gateway",
    "monitor",
    "send",
    "status",
    "windows",
    "budget",
    "doctor",
    "demo",
    "keys",
    "db",
    "events",
    "accuracy",
    "alarms",
    "decisions",
    "rollout",
    "explain",
    "rebaseline",
    "audit",
    "review",
}


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    monkeypatch.setenv("FIELDWATCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Installation(tmp_path / "home")


@functools.cache
def alarmed() -> Installation:
    """Make the installation with an alarm that tests copy."""
    made = Installation(new_folder() / "home")
    bundle = made.serve()
    made.healthy(bundle, 40)
    made.novel(bundle, 30)
    ingest(made.monitor(), made.clock)
    assess(made.monitor())
    ensure_admin_key(made.engine, made.settings.store.home, made.clock)
    return made


@pytest.fixture
def with_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    # Made before a variable says where: it would say so for what is copied, too.
    made = alarmed()
    monkeypatch.setenv("FIELDWATCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return made.copied(tmp_path / "home")


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        code = 0
        try:
            main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def parsed(run: Run, *arguments: str) -> Any:
    code, out, err = run(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom monitor.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print('LOADED', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    listed, _, loaded = done.stdout.partition("LOADED")
    words = {line.split()[0] for line in listed.splitlines() if line.startswith("  ") and line[2:]}
    assert words >= COMMANDS
    assert not set(HEAVY) & {module.partition(".")[0] for module in loaded.split()}


def test_looking_makes_no_installation_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FIELDWATCH_HOME", raising=False)
    kill = ["rollout", "kill", "--reason", "r"]
    for command in (["status"], ["events"], ["alarms", "list"], ["keys", "list"], kill, ["doctor"]):
        code, out, err = run(*command)
        assert code == 1
        assert (out == "") is (command != ["doctor"])
        assert (out + err).count("there is no installation in") == 1
        assert "fieldwatch up" in out + err
    assert not list(tmp_path.iterdir())


def test_a_setting_nobody_knows_is_one_line_and_exit_2(
    installation: Installation, tmp_path: Path, run: Run
) -> None:
    (tmp_path / "fieldwatch.toml").write_text("[monitor]\nprot = 8001\n")
    code, _, err = run("status")
    assert code == 2
    assert "monitor.prot: unknown key; did you mean port?" in err
    assert "Traceback" not in err


def test_an_unexpected_fault_is_one_line_unless_debugging(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    def explode(**_: object) -> int:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr("monitor.commands.status.run", explode)
    code, _, err = run("status")
    assert code == 1
    assert err.startswith("fieldwatch: unexpected ZeroDivisionError: boom")
    with pytest.raises(ZeroDivisionError):
        main(["--debug", "status"])


@pytest.mark.parametrize(
    ("words", "code", "ending"),
    [
        (("events", "show", "nonsense"), "not_found", 1),
        (("explain", "bears", "--last", "soon"), "option_invalid", 2),
        (("status", "--no-such-option"), "usage", 2),
        (("keys", "create"), "usage", 2),
    ],
)
def test_with_json_a_fault_is_one_object_on_stderr(
    words: tuple[str, ...], code: str, ending: int, installation: Installation, run: Run
) -> None:
    installation.serve()
    ended, out, err = run(*words, "--json")
    assert (ended, out) == (ending, "")
    assert (said := json.loads(err))["error"] == code
    assert run(*words)[0] == ending
    assert set(said) == {"error", "message"}


def test_a_model_nobody_imported_is_not_taken_for_a_quiet_one(
    installation: Installation, run: Run
) -> None:
    bundle = installation.serve()
    assert "Nothing of bears is recorded yet." in run("events", "--model", "bears")[1]
    assert "No alarm stands open." in run("alarms", "list", "--model", "bears")[1]
    installation.healthy(bundle, 3)
    _, out, _ = run("events", "--rejected")
    assert "3 events are recorded; none of these was rejected." in out
    for command in (("events",), ("alarms", "list")):
        code, out, err = run(*command, "--model", "nobody")
        assert (code, out) == (1, "")
        assert "there is no model nobody. Those known are bears." in err


def test_the_beginning_of_an_id_is_enough_where_it_is_the_only_one(
    installation: Installation, run: Run
) -> None:
    bundle = installation.serve()
    alone, *alike = (
        msgspec.structs.replace(installation.event(bundle), event_id=f"{name}-7000-8000")
        for name in ("019ac3d2", "019b0000-1", "019b0000-2")
    )
    installation.record([alone, *alike])

    assert parsed(run, "events", "show", "019ac3d2")["event"]["event_id"] == alone.event_id
    assert parsed(run, "events", "show", "019b0000-2")["event"]["event_id"] == alike[1].event_id
    code, _, err = run("events", "show", "019b0000")
    assert code == 1
    assert all(each.event_id in err for each in alike)
    assert alone.event_id not in err
    code, _, err = run("events", "explain", "019ac3")
    assert "Give its whole id, or 8 characters of it." in err
    for wild in ("019ac3d%", "019ac3d_", "019ac3d2'", "*" * 8):
        assert run("events", "show", wild)[0] == 1


def test_status_shows_models_evidence_and_alarms(with_alarm: Installation, run: Run) -> None:
    code, out, _ = run("status")
    assert code == 0
    for word in ("bears", "observe", "semantic", "novelty", "ticket", "No gateway has run yet"):
        assert word in out
    found = parsed(run, "status")
    [model] = found["models"]
    assert model["traffic"]["ok"] + model["ingested"]["ok"] >= 70
    assert len([s for s in model["streams"] if s["mode"] == "certified"]) == 4
    assert len([s for s in model["streams"] if s["mode"] == "balanced"]) == 4
    assert "balanced, not certified" in out
    assert "alarm open" in out
    code, _, err = run("status", "--model", "wolves")
    assert code == 1
    assert "there is no model wolves. Those served are bears." in err


def test_the_budget_is_shown_with_its_ledger(with_alarm: Installation, run: Run) -> None:
    code, out, _ = run("budget")
    assert code == 0
    for text in ("90 days", "100.0% is held by 4 streams", "class_rates", "began"):
        assert text in out
    found = parsed(run, "budget", "--history", "2")
    assert found["held"] == pytest.approx(1)
    assert len(found["history"]) == 2
    assert found["shares"][0]["stream"]["stream"] == "semantic"


def test_an_alarm_is_acknowledged_in_the_name_of_the_key_on_this_machine(
    with_alarm: Installation, run: Run
) -> None:
    [listed] = parsed(run, "alarms", "list")
    code, out, _ = run("alarms", "acknowledge", listed["id"], "--reason", "lens [cleaned]")
    assert code == 0
    assert "is acknowledged by admin: lens [cleaned]" in out
    code, out, _ = run("alarms", "acknowledge", listed["id"], "--reason", "again")
    assert code == 0
    assert "was acknowledged already by admin: lens [cleaned]" in out
    code, out, _ = run("alarms", "show", listed["id"])
    assert "UTC by admin: lens" in out
    done = parsed(run, "alarms", "acknowledge", listed["id"], "--reason", "again")
    assert done["acknowledged_reason"] == "lens [cleaned]"
    code, _, err = run("alarms", "acknowledge", "nothing", "--reason", "slip")
    assert code == 1
    assert "alarms list --all" in err


def test_status_counts_what_the_served_version_answered_and_what_named_no_model(
    installation: Installation, run: Run
) -> None:
    installation.clock = datetime.now(UTC) - timedelta(minutes=30)
    bundle = installation.serve()
    installation.healthy(bundle, 5)
    installation.record([installation.event(bundle, bundle_sha="f" * 64) for _ in range(7)])
    lost = [
        msgspec.structs.replace(
            installation.event(bundle, status=Status.REJECTED), model="_unknown", version=None
        )
        for _ in range(3)
    ]
    installation.record(lost)

    [model] = parsed(run, "status")["models"]
    assert model["traffic"]["ok"] == 5
    _, out, _ = run("status")
    assert "3 requests of the last hour named no model that is served" in out


def test_events_are_listed_and_shown_beside_training_items(
    with_alarm: Installation, run: Run
) -> None:
    listed = parsed(run, "events", "--flagged", "--limit", "3")
    assert len(listed) == 3
    assert all(event["flagged"] for event in listed)
    assert parsed(run, "events", "--rejected") == []
    shown = parsed(run, "events", "show", listed[0]["event_id"])
    assert len(shown["nearest"]) == 5
    code, out, _ = run("events", "show", listed[0]["event_id"])
    assert "most like it in training" in out
    assert "train/" in out
    code, _, err = run("events", "show", "nonsense")
    assert code == 1
    assert "there is no event nonsense" in err


def test_alarms_are_listed_and_shown_by_a_beginning_of_their_id(
    with_alarm: Installation, run: Run
) -> None:
    [alarm] = parsed(run, "alarms", "list")
    assert parsed(run, "alarms", "show", alarm["id"][:13]) == alarm
    _, out, _ = run("alarms", "show", alarm["id"])
    assert "worst inputs since the onset" in out
    assert "5.0% expected of healthy inputs" in out.replace("\n", " ")


def test_an_alarm_an_event_and_a_stretch_of_time_are_explained(
    with_alarm: Installation, run: Run, tmp_path: Path
) -> None:
    [alarm] = parsed(run, "alarms", "list")
    found = parsed(run, "alarms", "explain", alarm["id"])
    worst = found["worst"][0]["event_id"]
    assert parsed(run, "events", "explain", worst)["exhibit"]["event_id"] == worst
    assert parsed(run, "explain", "bears", "--from", "2020-01-01")["looked_at"] >= 40
    page = tmp_path / "page.html"
    code, out, _ = run("alarms", "explain", alarm["id"], "--html", str(page))
    assert code == 0
    assert out.startswith(found["headline"][:30])
    assert worst in page.read_text()
    code, out, _ = run("events", "explain", worst)
    assert code == 0
    assert "most like it in training" in out
    for arguments in (
        ("explain", "bears", "--from", "yesterday"),
        ("explain", "bears", "--from", "2020-01-02", "--to", "2020-01-01"),
        ("events", "explain", worst, "--html", str(tmp_path)),
    ):
        code, _, err = run(*arguments)
        assert (code, err.count("\n")) == (2, 1), err


@pytest.fixture
def ann(with_alarm: Installation, monkeypatch: pytest.MonkeyPatch) -> str:
    """Somebody with a key of her own, and it is hers that commands show."""
    token = key_desk.create(with_alarm.engine, "ann", Role.OPERATOR, "test", datetime.now(UTC))
    monkeypatch.setenv("FIELDWATCH_KEY", token)
    return token


def test_what_was_done_is_listed_newest_first(
    with_alarm: Installation, run: Run, ann: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FIELDWATCH_KEY")
    run("rollout", "kill", "--reason", "smoke [bold]")
    monkeypatch.setenv("FIELDWATCH_KEY", ann)
    run("rollout", "unkill", "--reason", "no fire")
    entries = parsed(run, "audit", "--limit", "2")
    assert [each["detail"]["reason"] for each in entries] == ["no fire", "smoke [bold]"]
    assert parsed(run, "audit", "--target", "model/none") == []
    _, out, _ = run("audit")
    assert "smoke [bold]" in out


def test_keys_are_made_listed_and_revoked(with_alarm: Installation, run: Run) -> None:
    made = parsed(run, "keys", "create", "ann", "--role", "operator")
    assert made["key"].startswith("fw_")
    keys = parsed(run, "keys", "list")
    assert [(key["person"], key["role"]) for key in keys] == [
        ("admin", "admin"),
        ("ann", "operator"),
    ]
    assert made["key"] not in json.dumps(keys)
    assert parsed(run, "keys", "revoke", keys[1]["id"]) == {"revoked": keys[1]["id"]}
    code, _, err = run("keys", "revoke", keys[0]["id"])
    assert code == 1
    assert "last admin key" in err


def test_keys_made_elsewhere_are_taken_up_once_and_stay_revoked(
    with_alarm: Installation, tmp_path: Path, run: Run
) -> None:
    secret = "0123456789abcdef" * 4
    admin, scrape = tmp_path / "admin_key", tmp_path / "scrape_key"
    admin.write_text(secret + "\n")
    scrape.write_text(secret[::-1])
    wanted = (f"root:admin={admin}", f"prometheus:viewer={scrape}")
    first = parsed(run, "keys", "adopt", *wanted)
    assert [key["outcome"] for key in first] == ["adopted", "adopted"]
    with reading(with_alarm.engine) as conn:
        assert Keys(conn).all().verify(secret) == Person(name="root", role=Role.ADMIN)
        held = {key.person.name: key.id for key in Keys(conn).listed()}
    assert parsed(run, "keys", "revoke", held["prometheus"])
    again = parsed(run, "keys", "adopt", *wanted)
    assert [key["outcome"] for key in again] == ["known", "revoked"]
    assert len(parsed(run, "keys", "list")) == 3
    code, _, err = run("keys", "adopt", f"somebody:admin={scrape}")
    assert (code, "it is the key of prometheus (viewer)" in err) == (1, True)


@pytest.mark.parametrize(
    "held", ["", "short", "0123456789abcdef 0123456789abcdef", "schlüssel" * 9]
)
def test_a_file_without_a_fit_key_gives_none_to_anybody(
    with_alarm: Installation, tmp_path: Path, run: Run, held: str
) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text("0123456789abcdef" * 4)
    bad.write_text(held)
    code, _, err = run("keys", "adopt", f"a:admin={good}", f"b:viewer={bad}")
    assert (code, str(bad) in err) == (1, True)
    assert len(parsed(run, "keys", "list")) == 1
    code, _, err = run("keys", "adopt", f"a:king={good}", "--json")
    assert (code, "PERSON:ROLE=FILE" in err) == (2, True)


def test_a_kill_is_armed_shown_and_released_by_somebody_else(
    with_alarm: Installation, run: Run, ann: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FIELDWATCH_KEY")
    assert parsed(run, "rollout", "kill", "--reason", "smoke")["changed"]
    assert not parsed(run, "rollout", "kill", "--reason", "smoke")["changed"]
    _, out, _ = run("status")
    assert "kill latch armed" in out
    assert parsed(run, "status")["models"][0]["killed"]
    code, _, err = run("rollout", "unkill", "--reason", "over")
    assert code == 1
    assert "releasing a kill latch takes a person, and “command line” is nobody" in err
    monkeypatch.setenv("FIELDWATCH_KEY", ann)
    assert parsed(run, "rollout", "unkill", "--reason", "over")["changed"]
    code, _, err = run("rollout", "kill", "--reason", "smoke", "--model", "baers")
    assert code == 1
    assert "there is no model baers. Those served are bears." in err
    assert run("rollout", "unkill", "--reason", "r", "--model", "baers")[0] == 1
    assert parsed(run, "rollout", "kill", "--reason", "r", "--model", "bears")["changed"]
    code, _, err = run("rollout", "unkill", "--reason", "r", "--model", "bears")
    assert code == 1
    assert "releasing a kill latch takes somebody else: ann armed it" in err
    monkeypatch.setenv("FIELDWATCH_KEY", "fw_nobodys")
    assert not parsed(run, "rollout", "kill", "--reason", "r", "--model", "bears")["changed"]
    assert run("rollout", "unkill", "--reason", "r", "--model", "bears")[0] == 1
    ben = key_desk.create(with_alarm.engine, "ben", Role.OPERATOR, "test", datetime.now(UTC))
    monkeypatch.setenv("FIELDWATCH_KEY", ben)
    assert parsed(run, "rollout", "unkill", "--reason", "r", "--model", "bears")["changed"]
    assert not parsed(run, "status")["models"][0]["killed"]


def test_releasing_one_latch_names_those_that_still_hold(
    with_alarm: Installation, run: Run, ann: str
) -> None:
    kill_switch.arm(with_alarm.engine, None, "ben", "r", datetime.now(UTC))
    run("rollout", "kill", "--reason", "r", "--model", "bears")
    _, out, _ = run("rollout", "unkill", "--reason", "r")
    assert "latch of the installation is released" in out
    assert "Still armed: the latch of bears" in out


def test_what_changes_nothing_is_no_deed_in_the_audit_trail(
    with_alarm: Installation, run: Run, ann: str
) -> None:
    kill_switch.arm(with_alarm.engine, None, "ben", "r", datetime.now(UTC))
    for command in ("kill", "kill", "unkill", "unkill"):
        run("rollout", command, "--reason", "r")
    deeds = [row["action"] for row in parsed(run, "audit") if row["action"].startswith("kill.")]
    assert sorted(deeds) == ["kill.armed", "kill.released"]


@pytest.mark.parametrize(
    "words",
    [
        ("rollout", "kill", "--reason", " "),
        ("alarms", "acknowledge", "01", "--reason", ""),
        ("drill", "bears", "--seed", "-5"),
        ("demo", "--seed", "-1"),
    ],
)
def test_a_blank_reason_and_a_negative_seed_are_refused_at_once(
    words: tuple[str, ...], run: Run
) -> None:
    assert run(*words)[0] == 2


def test_db_upgrade_is_safe_to_repeat(installation: Installation, run: Run) -> None:
    assert parsed(run, "db", "upgrade") == parsed(run, "db", "upgrade")


def test_send_explains_what_it_cannot_do(with_alarm: Installation, run: Run) -> None:
    code, _, err = run("send", "nowhere", "--model", "bears")
    assert code == 1
    assert "there is no such file or folder" in err
    code, _, err = run("send", ".", "--segment", "north")
    assert code == 2
    assert err == "fieldwatch: --segment 'north' is not understood: write it as key=value.\n"
    installation = with_alarm.settings.store
    installation.key_file.unlink()
    code, _, err = run("send", ".", "--model", "bears")
    assert code == 1
    assert "FIELDWATCH_KEY is not set" in err
    assert str(installation.key_file) in err


def test_a_home_that_cannot_be_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FIELDWATCH_HOME", str(tmp_path / "file" / "home"))
    code, _, err = run("up")
    assert code == 1
    assert "cannot be made: Not a directory. Name another one with FIELDWATCH_HOME" in err


def test_import_without_trust_explains_the_risk_and_stops(
    installation: Installation, tmp_path: Path, run: Run
) -> None:
    (tmp_path / "learner.pkl").write_bytes(b"not opened")
    code, _, err = run("import", "learner.pkl", "--data", ".", "--name", "bears")
    assert code == 1
    assert "--trust-pickle" in err


def test_scores_nobody_knows_are_refused_with_the_list(
    installation: Installation, run: Run
) -> None:
    asked = ("import", "bears.pkl", "--data", "bears", "--name", "bears", "--scores", "maha++,odin")

    code, _, err = run(*asked)

    assert code != 0
    assert "--scores 'maha++,odin' is not understood: there is no score 'odin'" in err
    assert "choose from maha++, rmds++" in err
