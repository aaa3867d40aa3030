"""`fieldwatch review …` as a person types it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from monitor.cli import app
from monitor.services.review.enqueue import enqueue
from tests.monitor.installation import Installation


@pytest.fixture(autouse=True)
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    monkeypatch.setenv("FIELDWATCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FIELDWATCH_MONITOR__REVIEW__AUDIT", "1e-9")
    monkeypatch.chdir(tmp_path)
    installation = Installation(tmp_path / "home")
    installation.novel(installation.serve(), 1)
    enqueue(installation.monitor())
    return installation


def _run(*words: str) -> Result:
    return CliRunner().invoke(app, ["review", *words], catch_exceptions=False)


def test_a_reader_takes_an_item_in_hand_answers_it_and_sees_what_the_model_had_said() -> None:
    assert "out_of_domain" in _run("list").stdout
    [item] = json.loads(_run("claim", "--reader", "anna", "--json").stdout)
    said = _run(
        *("answer", item["id"], "relabel", "--label", "teddy"),
        *("--token", str(item["token"]), "--reader", "anna"),
    )
    assert "settled" in said.stdout
    assert "The model had said" in said.stdout
    assert "anna: 1 answer," in _run("history", "anna").stdout
    assert "stays open" in _run("undo", item["id"], "--reader", "anna").stdout


def test_an_answer_typed_twice_counts_once_and_the_beginning_of_an_id_is_enough() -> None:
    [item] = json.loads(_run("claim", "--reader", "anna", "--json").stdout)
    said = ("answer", item["id"][:18], "relabel", "--label", "teddy")
    words = (*said, "--token", str(item["token"]), "--reader", "anna")
    assert "Recorded: the item is settled" in _run(*words).stdout
    assert "Recorded before: the item is settled" in _run(*words).stdout
    assert "anna: 1 answer," in _run("history", "anna").stdout
    assert "Taken back" in _run("undo", item["id"][:18], "--reader", "anna").stdout


def test_a_reader_is_told_the_command_that_answers() -> None:
    assert "--reader 'Anna B'" in _run("claim", "--reader", "Anna B").stdout


def test_an_export_says_what_it_wrote_and_how_to_load_it(tmp_path: Path) -> None:
    written = _run("export", "bears", "--out", str(tmp_path / "out"))
    assert written.exit_code == 0
    assert "from_df" in written.stdout
    assert (tmp_path / "out" / "labels.csv").read_text().startswith("path,label,is_valid")


def test_an_empty_queue_says_so() -> None:
    [item] = json.loads(_run("claim", "--reader", "anna", "--json").stdout)
    _run("answer", item["id"], "delete", "--token", str(item["token"]), "--reader", "anna")
    assert "Nothing waits" in _run("list").stdout
    assert "Nothing waits for you" in _run("claim", "--reader", "ben").stdout
