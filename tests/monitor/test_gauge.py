"""Accuracy of a served model: estimated from events, measured with decisions, or unknown."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from starlette.testclient import TestClient

from monitor.cli import main
from monitor.commands.times import read_span
from monitor.domain import Role, Status, Window
from monitor.errors import BundleUntrusted, DocumentTooNew, NotFound, OptionInvalid
from monitor.services import key_desk
from monitor.services.accuracy.gauge import Accuracy, gauge, gauge_all, read_accuracy, read_segment
from monitor.services.context import Context
from monitor.services.decisions.decide import DecisionReport, decide
from monitor.services.decisions.rows import Delivery
from monitor.services.scrape import read_metrics
from monitor.services.status import look
from monitor.stats.accuracy import support
from monitor.stats.accuracy.head import softmax
from monitor.store.accuracy_readings import AccuracyReadings, StoredReading
from monitor.store.bundles import Bundles
from monitor.store.engine import reading
from monitor.store.event import Event
from monitor.wiring import make_app
from reference_data import held_out, shifted
from reference_data.bundle import Bundle
from tests.monitor.installation import VOCAB, Installation

CLASSES = len(VOCAB)
Floats = npt.NDArray[np.float64]


def answers(n: int, rng: np.random.Generator) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Draw logits and true classes of a model that is right about nine times in ten."""
    labels = rng.integers(0, CLASSES, n)
    return 3.0 * np.eye(CLASSES)[labels] + 1.2 * rng.normal(size=(n, CLASSES)), labels


def held(n: int = 400) -> bytes:
    rng = np.random.default_rng(1)
    logits, labels = answers(n, rng)
    return held_out.HeldOut(
        rows=np.arange(n),
        role=np.array(["calibrate", "estimate", "temperature", "repeat"] * (n // 4)),
        labels=labels,
        logits=logits.astype(np.float32),
        embedding=np.zeros((n, 8), dtype=np.float16),
        semantic=rng.normal(size=n),
        domain=rng.normal(size=n),
        properties={},
        segments={"site": np.array(["north", "south"] * (n // 2))},
    ).to_bytes()


def moved(n: int = 400) -> bytes:
    rng = np.random.default_rng(2)
    logits, labels = answers(n, rng)
    return shifted.Shifted(
        rows=np.arange(n),
        shift=np.array(["fog", shifted.HEALTHY] * (n // 2)),
        severity=np.array([3, 0] * (n // 2)),
        labels=labels,
        logits=(0.5 * logits).astype(np.float32),
        embedding=np.zeros((n, 8), dtype=np.float16),
        semantic=rng.normal(1.0, size=n),
        domain=rng.normal(1.0, size=n),
        properties={},
    ).to_bytes()


class Field:
    """A served model with events whose truth is known."""

    def __init__(self, home: Path, more: dict[str, bytes]) -> None:
        self.installation = Installation(home)
        self.bundle: Bundle = self.installation.serve(more=more)
        self.monitor: Context = self.installation.monitor()
        self.rng = np.random.default_rng(3)
        self.truth: dict[str, str] = {}

    def event(self, *, case_id: str | None = None, site: str = "north") -> Event:
        logits, [label] = answers(1, self.rng)
        probabilities = softmax(logits)[0]
        event = msgspec.structs.replace(
            self.installation.event(self.bundle),
            prediction=VOCAB[int(probabilities.argmax())],
            confidence=float(probabilities.max()),
            probabilities=probabilities.tolist(),
            case_id=case_id,
            segment={"site": site},
        )
        self.truth[event.event_id] = VOCAB[label]
        return event

    def see(self, count: int) -> list[Event]:
        events = [self.event(site="north" if i % 4 else "south") for i in range(count)]
        self.installation.record(events)
        return events

    def decide(self, *rows: Mapping[str, object]) -> DecisionReport:
        delivery = Delivery(model=None, decided_by="anna", source="test", recorded_by="test")
        clock = self.installation.clock
        return decide(self.monitor, enumerate(rows), delivery, clock)

    def label(self, events: Sequence[Event], **more: object) -> DecisionReport:
        return self.decide(
            *({"event_id": e.event_id, "label": self.truth[e.event_id], **more} for e in events)
        )

    def right(self, events: Sequence[Event]) -> float:
        return float(np.mean([self.truth[e.event_id] == e.prediction for e in events]))

    def gauge(self, segment: str | None = None) -> Accuracy:
        end = self.installation.clock + timedelta(seconds=1)
        window = Window(start=end - timedelta(days=1), end=end)
        return gauge(self.monitor, "bears", window, read_segment(segment))


@pytest.fixture(autouse=True)
def small_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "COUNT", 150)


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return Field(tmp_path / "home", {held_out.FILE: held(), shifted.FILE: moved()})


def test_accuracy_is_estimated_and_then_measured(field: Field) -> None:
    events = field.see(240)

    before = field.gauge()
    assert before.estimated.value is not None
    assert before.estimated.low is not None
    assert before.estimated.high is not None
    assert before.estimated.low <= field.right(events) <= before.estimated.high
    assert before.estimated.rows == before.estimated.of == 240
    assert set(before.estimated.class_mix) == set(VOCAB)
    assert before.measured.overall is None
    assert "no human decision is recorded" in str(before.measured.reason)

    field.label(events[:100])
    after = field.gauge()
    assert after.measured.overall is not None
    assert after.measured.overall.labels == 100
    assert after.measured.overall.value == pytest.approx(field.right(events[:100]))
    assert after.measured.overall.method == "beta mixture"
    assert set(after.measured.classes) == set(VOCAB)
    assert after.estimated == before.estimated


def test_a_segment_is_gauged_by_itself(field: Field) -> None:
    events = field.see(240)
    field.label(events)
    south = [event for event in events if event.segment["site"] == "south"]

    found = field.gauge("site=south")
    assert found.segment == "site=south"
    assert (found.estimated.rows, found.estimated.of) == (60, 60)
    assert found.measured.overall is not None
    assert found.measured.overall.labels == 60
    assert found.measured.overall.value == pytest.approx(field.right(south))
    assert field.gauge("site=nowhere").estimated.value is None


def test_too_few_events_are_unknown_and_say_how_many_are_needed(field: Field) -> None:
    field.see(49)

    found = field.gauge().estimated
    assert found.value is None
    assert found.reason == "49 episodes are too few; 50 are needed"


def test_a_bundle_without_held_out_rows_is_unknown_and_says_what_to_do(tmp_path: Path) -> None:
    old = Field(tmp_path, {})
    old.see(60)

    found = old.gauge().estimated
    assert found.value is None
    assert "import it again" in str(found.reason)


def test_few_held_out_rows_are_unknown(tmp_path: Path) -> None:
    small = Field(tmp_path, {held_out.FILE: held(40)})
    small.see(60)

    assert "30 held-out rows are too few" in str(small.gauge().estimated.reason)


def test_inputs_unlike_any_seen_make_accuracy_unknown(field: Field) -> None:
    strange = [
        msgspec.structs.replace(event, p_semantic=0.002, p_domain=0.002)
        for event in (field.event() for _ in range(100))
    ]
    field.installation.record(strange)

    found = field.gauge().estimated
    assert found.value is None
    assert "drift can no longer be measured" in str(found.reason)


def test_numbers_that_are_not_finite_are_left_out_and_counted(field: Field) -> None:
    events = [field.event() for _ in range(60)]
    broken = [
        msgspec.structs.replace(events[0], probabilities=[float("nan")] * CLASSES),
        msgspec.structs.replace(events[1], probabilities=[0.5, 0.5]),
        msgspec.structs.replace(events[2], p_domain=None),
        msgspec.structs.replace(events[3], probabilities=None),
    ]
    field.installation.record([*broken, *events[4:]])

    found = field.gauge().estimated
    assert (found.rows, found.excluded) == (60, 4)
    assert found.value is not None


def test_later_events_of_an_episode_are_not_counted_again(field: Field) -> None:
    first = field.event()
    burst = [
        msgspec.structs.replace(field.event(), episode_id=first.event_id, prediction="black")
        for _ in range(3)
    ]
    field.installation.record([first, *burst])
    field.decide(
        *({"event_id": e.event_id, "label": e.prediction} for e in (first, burst[0])),
        {"event_id": burst[1].event_id, "label": "teddy"},
    )

    found = field.gauge()
    assert found.estimated.rows == 1
    assert found.measured.overall is not None
    assert (found.measured.overall.units, found.measured.overall.labels) == (1, 3)
    assert found.measured.overall.value == pytest.approx(2 / 3)
    assert found.measured.overall.method == "betting"


def test_a_case_is_decided_about_its_last_prediction(field: Field) -> None:
    first, second = (
        msgspec.structs.replace(field.event(case_id="c1"), prediction=name)
        for name in ("black", "teddy")
    )
    field.installation.record([first, second])

    field.decide({"case_id": "c1", "label": "teddy"}, {"case_id": "later", "label": "teddy"})
    by_case = field.gauge().measured
    assert by_case.overall is not None
    assert (by_case.overall.labels, by_case.overall.value) == (1, 1.0)
    assert by_case.waiting == 1

    field.decide({"event_id": second.event_id, "label": "black"})
    by_event = field.gauge().measured
    assert by_event.overall is not None
    assert (by_event.overall.labels, by_event.overall.value) == (1, 0.0)

    late = field.event(case_id="later")
    field.installation.record([late])
    assert field.gauge().measured.waiting == 0


def test_a_correction_replaces_what_was_measured(field: Field) -> None:
    [event] = field.see(1)
    wrong = next(name for name in VOCAB if name != event.prediction)

    field.decide({"event_id": event.event_id, "label": wrong})
    field.decide({"event_id": event.event_id, "label": event.prediction})
    found = field.gauge().measured.overall
    assert found is not None
    assert (found.labels, found.value) == (1, 1.0)


def test_labels_drawn_with_unequal_chances_are_weighted(field: Field) -> None:
    events = field.see(120)
    wrong = [e for e in events if field.truth[e.event_id] != e.prediction]
    right = [e for e in events if field.truth[e.event_id] == e.prediction]
    assert wrong
    field.label(wrong, inclusion_probability=1.0)
    field.label(right[::4], inclusion_probability=0.25)
    field.label(right[1:2])

    found = field.gauge().measured
    assert found.overall is not None
    assert found.overall.method == "weighted betting"
    assert found.without_probability == 1
    assert found.overall.value == pytest.approx(field.right(events), abs=0.05)
    assert found.overall.low <= field.right(events) <= found.overall.high


def test_rejected_requests_and_other_versions_are_not_measured(field: Field) -> None:
    rejected = field.installation.event(field.bundle, status=Status.REJECTED)
    other = field.installation.event(field.bundle, bundle_sha="f" * 64)
    field.installation.record([rejected, other])
    field.decide(*({"event_id": e.event_id, "label": "teddy"} for e in (rejected, other)))

    found = field.gauge().measured
    assert found.overall is None
    assert found.waiting == 2
    assert "none of the 2 decisions" in str(found.reason)


def test_status_and_metrics_show_what_was_gauged_and_unknown_as_unknown(field: Field) -> None:
    [model] = look(field.monitor).models
    assert model.accuracy.estimated is None
    assert "not gauged" in str(model.accuracy.estimated_reason)
    assert read_metrics(field.monitor).versions[0].accuracy == {}

    events = field.see(100)
    field.label(events[:30])
    assert gauge_all(field.monitor) == 1
    [model] = look(field.monitor).models
    assert model.accuracy.estimated is not None
    assert model.accuracy.labelled == 30
    assert set(read_metrics(field.monitor).versions[0].accuracy) == {"estimated", "measured"}

    field.installation.serve(version="2")
    [model] = look(field.monitor).models
    assert model.accuracy.estimated is None


def test_a_model_that_cannot_be_gauged_keeps_no_other_waiting(field: Field) -> None:
    field.see(60)
    broken = field.installation.serve(model="alpacas")
    with field.monitor.engine.begin() as conn:
        Bundles(conn).withdraw(broken.digest, "anna", field.installation.clock)

    with pytest.raises(BundleUntrusted, match="withdrawn"):
        gauge_all(field.monitor)
    with reading(field.monitor.engine) as conn:
        assert [model for model, _ in AccuracyReadings(conn).all()] == ["bears"]


def test_a_finding_of_a_newer_program_is_refused(field: Field) -> None:
    stored = StoredReading(
        model="bears", bundle_sha="", reading='{"format": 9}', computed_at=field.installation.clock
    )

    with pytest.raises(DocumentTooNew, match="accuracy of bears"):
        read_accuracy(stored)


def test_accuracy_is_shown_on_the_command_line_and_by_request(
    field: Field, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    field.label(field.see(100)[:30])
    store = field.installation.settings.store
    monkeypatch.setenv("FIELDWATCH_HOME", str(store.home))

    main_ok(["accuracy", "bears", "--last", "7d", "--segment", "site=north"])
    shown = capsys.readouterr().out
    assert "estimated without labels" in shown
    assert "beta mixture" in shown
    main_ok(["accuracy", "bears", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["measured"]["overall"]["labels"] == 30

    client = TestClient(make_app(field.monitor))
    token = key_desk.create(
        field.monitor.engine, "v", Role.VIEWER, "test", field.installation.clock
    )
    headers = {"Authorization": f"Bearer {token}"}
    where = "/v1/models/bears/accuracy"
    found = client.get(where, params={"segment": "site=north"}, headers=headers).json()
    assert found["segment"] == "site=north"
    assert found["estimated"]["value"] is not None
    for params in ({"from": "2026-01-01T00:00:00"}, {"from": "2999-01-01T00:00:00Z"}):
        assert client.get(where, params=params, headers=headers).status_code == 422
    assert client.get("/v1/models/fish/accuracy", headers=headers).status_code == 404


def main_ok(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert not ended.value.code


def test_spans_and_segments_that_are_none_are_refused(field: Field) -> None:
    assert read_span("90m") == timedelta(minutes=90)
    assert read_span("7d") == timedelta(days=7)
    assert read_span("2w") == timedelta(days=14)
    for text in ("", "7", "0d", "1y", "-1h", "99999999999d"):
        with pytest.raises(OptionInvalid, match="--last"):
            read_span(text)
    with pytest.raises(OptionInvalid, match="name=value"):
        read_segment("north")
    now = field.installation.clock
    window = Window(start=now - timedelta(days=1), end=now)
    with pytest.raises(NotFound, match="no model fish"):
        gauge(field.monitor, "fish", window)
