"""`fieldwatch drill` from end to end, on a model of a few kilobytes."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from monitor.certificate import Traffic
from monitor.cli import app
from monitor.commands.drill import delay_text
from monitor.services.drills import null_replay
from monitor.services.drills.holdings import Holdings
from monitor.services.drills.injection import prepare
from monitor.services.drills.null_replay import Grants
from monitor.services.drills.passages import Judge
from monitor.services.references import read_reference
from monitor.services.streams.opening import watchlist
from monitor.services.streams.stream import Terms
from monitor.settings import DetectorOptions
from reference_data import held_out, shifted
from reference_data.bundle import Bundle, write
from reference_data.corruptions.catalogue import Shift
from reference_data.shifted_pass import Grade
from tests.drill import bands

GRADES: list[Grade] = [
    (None, 0),
    (Shift.NIGHT, 1),
    (Shift.NIGHT, 5),
    (Shift.ROTATION, 5),
    (Shift.CUT_UP, 5),
]

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bands.make(tmp_path_factory.mktemp("bands"), GRADES)


@pytest.fixture(scope="module")
def run(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Serve the bundle in a home of its own; give what runs commands there."""
    home = tmp_path_factory.mktemp("home")
    bands.serve(home, bundle)

    def command(*words: str) -> Any:
        result = CliRunner().invoke(app, [*words], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout) if "--json" in words else result.stdout

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIELDWATCH_HOME", str(home))
        patch.chdir(home)
        patch.setattr("monitor.services.drills.drill.QUICK_REPEATS", 3)
        patch.setattr("monitor.services.drills.drill.QUICK_REPLAYS", 3)
        assert "bands 1 never pages: certificate none, no drill has been run" in command("status")
        yield command


@pytest.fixture(scope="module")
def drilled(run: Run) -> Any:
    return run("drill", "bands", "--json")


def test_a_quick_drill_certifies_and_status_says_so(run: Run, drilled: Any) -> None:
    assert drilled["refused"] is None
    assert drilled["depth"] == "quick"
    assert drilled["null"]["alarming"] == 0
    names = {(each["shift"], each["severity"]) for each in drilled["injected"]}
    assert {("night", 1), ("night", 5), ("rotation", 5), ("cut up", 5)} <= names
    night = next(e for e in drilled["injected"] if (e["shift"], e["severity"]) == ("night", 5))
    assert night["delays"][-1]["share"] == 1.0
    assert night["delays"][-1]["median"] < bands.PICTURES
    assert night["accuracy"]["items"] == bands.PICTURES
    assert "novelty and domain drift page" in run("status")
    assert run("status", "--json")["models"][0]["certificate"]["state"] == "valid"


def test_a_changed_option_voids_the_certificate_and_names_it(
    run: Run, drilled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert drilled["refused"] is None
    monkeypatch.setenv("FIELDWATCH_MONITOR__DETECTORS__DELTA", "0.02")
    assert "void: delta changed" in run("status")
    assert run("status", "--json")["models"][0]["certificate"]["state"] == "void"


def test_a_drill_on_the_screen_and_as_a_page_has_delays_the_promise_and_the_novel(
    run: Run, drilled: Any, tmp_path: Path
) -> None:
    for place, pixels in enumerate(bands.noise(12)):
        Image.fromarray(pixels).save(tmp_path / f"{place}.png")
    text = run("drill", "bands", "--novel", str(tmp_path), "--html", str(tmp_path / "page.html"))
    for word in ("quick drill of bands 1", "night", "delay at 100%", "promise", "null replay"):
        assert word in text
    [novel] = [line for line in text.splitlines() if line.strip().startswith("novel")]
    assert "12" in novel
    assert "no class is right" in novel
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") >= 2
    assert "http" not in page, "it loads nothing"


def test_the_same_seed_gives_the_same_measurements(run: Run, drilled: Any) -> None:
    again = run("drill", "bands", "--json")
    assert again["injected"] == drilled["injected"]
    assert again["null"] == drilled["null"]
    assert again["id"] != drilled["id"]


def test_a_shift_that_is_invisible_and_costly_is_named_first_everywhere(tmp_path: Path) -> None:
    plain = bands.make(tmp_path / "plain", [(None, 0), (Shift.NIGHT, 5)])
    passed = shifted.read(plain)
    assert passed is not None
    healthy = passed.cell(shifted.HEALTHY, 0)
    # Every picture gets the answer of another: as sure, as usual, the same classes overall.
    swapped = replace(
        healthy,
        shift=np.full(len(healthy), "swapped"),
        severity=np.full(len(healthy), 3),
        logits=np.roll(healthy.logits, 1, axis=0),
        properties={**healthy.properties, "bytes": np.full(len(healthy), 100.0)},
    )
    together = shifted.joined(passed, swapped).to_bytes()
    kept = {name: plain.read(name) for name in plain.manifest.files}
    bundle = write(tmp_path / "bundles", plain.manifest, {**kept, shifted.FILE: together})
    bands.serve(tmp_path / "home", bundle)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIELDWATCH_HOME", str(tmp_path / "home"))
        patch.setattr("monitor.services.drills.drill.QUICK_REPEATS", 3)
        patch.setattr("monitor.services.drills.drill.QUICK_REPLAYS", 3)
        patch.chdir(tmp_path)
        text = CliRunner().invoke(app, ["drill", "bands"], catch_exceptions=False).stdout
        assert text.startswith("weak spot: swapped 3 costs ")
        status = CliRunner().invoke(app, ["status"], catch_exceptions=False).stdout
    assert "bands 1 would miss: swapped 3" in status
    assert "novelty and domain drift page" in status


def test_an_unknown_model_or_version_is_named(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    from monitor.cli import main

    for words, said in ((["cats"], "cats"), (["bands", "--version", "9"], "There is: 1.")):
        with pytest.raises(SystemExit) as ended:
            main(["drill", *words])
        assert ended.value.code == 1
        assert said in capsys.readouterr().err


def test_a_null_replay_uses_no_row_twice() -> None:
    fitted, streamed = null_replay.divide(241, np.random.default_rng(0))
    assert not set(fitted.tolist()) & set(streamed.tolist())
    assert len(set(fitted.tolist())) + len(set(streamed.tolist())) == 241


def test_grants_come_before_the_batch_they_are_for() -> None:
    hourly = Traffic(episodes_per_hour=3_600, batch=4, source="test")
    grants = Grants.of(DetectorOptions(), hourly).over(6)
    assert grants.tolist() == [4.0, 0.0, 0.0, 0.0, 4.0, 0.0]
    counted = Grants.of(DetectorOptions(clock="episodes"), hourly).over(3)
    assert counted.tolist() == [1.0, 1.0, 1.0]


def test_healthy_inputs_injected_as_a_shift_are_not_seen_and_the_bound_is_said(
    bundle: Bundle,
) -> None:
    held = held_out.read(bundle)
    assert held is not None
    options = DetectorOptions(clock="episodes")
    reference = read_reference(bundle)
    calibrating = held.of_role("calibrate")
    judge = Judge.of(bundle)
    terms = {
        key: Terms(log_threshold=options.log_threshold(options.weights[key.stream]), text="")
        for key in watchlist(reference.baseline, options)
    }
    streams = Holdings(terms=terms, delta=options.delta).open("bands", reference.baseline)
    grants = Grants(per_event=1.0, batch=1)
    rng = np.random.default_rng(0)
    injection = prepare(streams, calibrating, judge, grants, 10, rng)
    apart = held.of_role("estimate", "temperature")
    [found] = injection.delays(judge.episodes(apart, "apart"), (1.0,), rng)
    assert (found.seen, found.median, found.unseen_after) == (0, None, len(apart))
    assert delay_text(found).startswith(f"> {len(apart)}")
