"""Rebaselining through the service and the command line: audited, trusted, served on request."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitor.cli import app
from monitor.errors import NotFound, OptionInvalid
from monitor.services.context import Context
from monitor.services.rebaseline import Wish, rebaseline
from monitor.settings import MonitorSettings
from monitor.store.audit import Audit
from monitor.store.bundles import Bundles
from monitor.store.engine import reading
from monitor.store.routes import Routes
from monitor.wiring import make_context
from reference_data.bundle import Bundle
from reference_data.errors import ImportRefused
from tests.inference.tiny_model import install
from tests.reference_data.tiny_reference import Quiet, darker, make_bundle, write_confirmed

NOW = datetime(2026, 6, 1, tzinfo=UTC)
FIELD = range(9_999, 10_119)


@pytest.fixture
def parent(tmp_path: Path) -> Bundle:
    bundle = make_bundle(tmp_path / "home" / "bundles", training=90, held_out=130)
    install(tmp_path / "home").serve(bundle)
    return bundle


@pytest.fixture
def context(tmp_path: Path, parent: Bundle) -> Context:
    return make_context(MonitorSettings.model_validate({"store": {"home": tmp_path / "home"}}))


def ask(context: Context, data: Path, **changes: object) -> Wish:
    asked: dict[str, object] = {
        "name": "colours",
        "data": data,
        "mode": "join",
        "reason": "confirmed",
        "accept_shift": False,
        "drill": False,
        "serve": False,
        **changes,
    }
    wish = Wish(**asked)  # type: ignore[arg-type]
    rebaseline(context, wish, by="ann", clock=lambda: NOW, progress=Quiet())
    return wish


def test_a_new_reference_is_trusted_and_audited_and_not_served_unasked(
    context: Context, parent: Bundle, tmp_path: Path
) -> None:
    ask(context, write_confirmed(tmp_path / "field", FIELD))
    with reading(context.engine) as conn:
        assert Routes(conn).current()["colours"].bundle_sha == parent.digest
        newest, _ = Bundles(conn).of("colours")
        [told] = [e for e in Audit(conn).all() if e.action == "bundle.rebaselined"]
    assert (newest.version, newest.registered_by) == ("2", "ann")
    assert told.target == f"bundle/{newest.sha}"
    assert told.detail["parent"] == parent.digest
    assert told.detail["reason"] == "confirmed"
    assert told.detail["rows"] == len(FIELD)


def test_a_refusal_changes_and_records_nothing(
    context: Context, parent: Bundle, tmp_path: Path
) -> None:
    dark = write_confirmed(tmp_path / "dark", FIELD, darker)
    with pytest.raises(ImportRefused, match="--accept-shift"):
        ask(context, dark, serve=True)
    with pytest.raises(OptionInvalid, match="--reason"):
        ask(context, dark, reason="  ")
    with pytest.raises(NotFound):
        ask(context, dark, name="bears")
    with reading(context.engine) as conn:
        assert [each.sha for each in Bundles(conn).of("colours")] == [parent.digest]
        assert all(e.action != "bundle.rebaselined" for e in Audit(conn).all())


def test_the_command_serves_a_new_reference_on_request(
    parent: Bundle, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIELDWATCH_HOME", str(tmp_path / "home"))
    data = write_confirmed(tmp_path / "field", FIELD, darker)
    options = ["rebaseline", "colours", "--data", str(data), "--reason", "night", "--no-drill"]
    wrong = CliRunner().invoke(app, [*options, "--mode", "mix"])
    assert isinstance(wrong.exception, OptionInvalid)
    answer = CliRunner().invoke(
        app, [*options, "--mode", "replace", "--accept-shift", "--serve", "--json"]
    )
    assert answer.exit_code == 0, answer.output
    done = json.loads(answer.stdout)
    assert done["rebaselined"]["flagged_before"] > 0.5
    assert done["registration"]["served"] is True
    with reading(context.engine) as conn:
        assert Routes(conn).current()["colours"].bundle_sha == done["digest"]
