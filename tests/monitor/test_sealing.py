"""No answer of the monitor tells what a model in shadow said, before a human has decided."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from monitor.domain import Role, Stage, Window
from monitor.errors import EventSealed, NotFound
from monitor.review.item import ItemState
from monitor.review.sampling import chance
from monitor.rollouts.seal import commit
from monitor.services import key_desk
from monitor.services.context import Context
from monitor.services.decisions.decide import decide
from monitor.services.decisions.rows import Delivery
from monitor.services.ingest import ingest
from monitor.services.last_windows import read_window
from monitor.services.review.enqueue import enqueue
from monitor.services.seals import HIDDEN, check_seal
from monitor.services.status import look
from monitor.store.event import Event
from monitor.store.schema import review_items
from monitor.store.summaries import StoredSummary
from monitor.wiring import make_app
from reference_data.summary import summarise
from tests.monitor.installation import START, Installation, held_out_rows

TELLING = {
    *("prediction", "confidence", "probabilities", "p_semantic", "p_domain", "p_value"),
    *("flagged", "nonce", "nearest", "stands_for", "p_values", "statement"),
}


@dataclass(frozen=True)
class Field:
    """A monitor whose model stood in shadow while something odd came by."""

    installation: Installation
    context: Context
    client: TestClient
    sealed: list[Event]
    opened: list[Event]
    """Of the healthy events before."""
    alarm: str


def in_shadow(event: Event, number: int) -> Event:
    # Numbers that nothing else could have.
    said = {"confidence": 0.61718281 + number * 1e-6, "p_domain": 0.71314159 + number * 1e-6}
    nonce = secrets.token_bytes(32)
    event = msgspec.structs.replace(
        event, stage=Stage.SHADOW, case_id=f"case-{number}", nonce=nonce, **said
    )
    return msgspec.structs.replace(event, commitment=commit(nonce, msgspec.structs.asdict(event)))


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Field:
    installation = Installation(tmp_path_factory.mktemp("home"))
    bundle = installation.serve(more=held_out_rows())
    opened = [installation.event(bundle) for _ in range(40)]
    installation.record(opened)
    sealed = [
        in_shadow(installation.event(bundle, p_semantic=0.00122474 + n * 1e-6), n)
        for n in range(60)
    ]
    installation.record(sealed)
    context = installation.monitor()
    [intake] = ingest(context, installation.clock + timedelta(seconds=1))
    assert intake.opened
    enqueue(context)
    with installation.engine.begin() as conn:  # as if readers had been through with all of them
        conn.execute(update(review_items).values(state=ItemState.DONE))
    token = key_desk.create(installation.engine, "ann", Role.ADMIN, "test", installation.clock)
    client = TestClient(make_app(context), headers={"X-API-Key": token})
    return Field(installation, context, client, sealed, opened, intake.opened[0])


def addresses(field: Field) -> Iterator[str]:
    """Every address that can be read, with the ids it takes, and what a query may choose."""
    first = field.sealed[0]
    described = field.client.get("/openapi.json").json()["paths"]
    pages = ["/metrics", "/alarms/{alarm_id}", "/events/{event_id}", "/models/{model}/explanation"]
    span = f"from={_utc(first)}&to={_utc(field.sealed[1])}"
    for path in [*pages, *(p for p, methods in described.items() if "get" in methods)]:
        filled = (
            path.replace("{model}", "bears")
            .replace("{event_id}", first.event_id)
            .replace("{alarm_id}", field.alarm)
        )
        yield f"{filled}?model=bears&limit=200&all=true&flagged=false&{span}"
        yield f"{filled}?model=bears&flagged=true&{span}"


def _utc(event: Event) -> str:
    return event.at.isoformat().replace("+00:00", "Z")


def objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from objects(each)
    if isinstance(value, list):
        for each in value:
            yield from objects(each)


def test_no_address_tells_what_was_said_of_a_sealed_event(field: Field) -> None:
    ids = {event.event_id for event in field.sealed}
    seen = set()
    for address in addresses(field):
        answer = field.client.get(address)
        text = answer.text
        for event in field.sealed:
            for number in (event.confidence, event.p_domain, event.p_semantic):
                assert str(number) not in text, address
            assert event.nonce is not None
            assert event.nonce.hex() not in text
        if answer.headers["content-type"].startswith("text/html"):
            assert not any(each in text for each in ids), address
            continue
        if not answer.headers["content-type"].startswith("application/json"):
            continue
        for found in objects(answer.json()):
            if {found.get("event_id"), found.get("subject")} & ids:
                seen.add(address.partition("?")[0])
                told = {name for name in TELLING & set(found) if found[name] not in (None, [], {})}
                assert not told, (address, told)
    assert "/v1/events" in seen
    assert "/v1/review/items" not in seen


def test_a_listing_of_flagged_events_names_no_sealed_one(field: Field) -> None:
    ids = {event.event_id for event in field.sealed}
    listed = field.client.get("/v1/events?flagged=true&limit=1000").json()
    assert not ids & {each["event_id"] for each in listed}
    everything = field.client.get("/v1/events?limit=1000").json()
    assert ids <= {each["event_id"] for each in everything if each["sealed"]}


def test_the_queue_takes_sealed_events_by_the_blind_draw_alone_until_they_are_opened(
    field: Field,
) -> None:
    """All of them were flagged, so that each would be there for it."""
    rates = field.context.settings.monitor.review.rates
    drawn = {each.event_id for each in field.sealed if chance(each.event_id) < rates.audit}
    with field.installation.engine.begin() as conn:
        found = conn.execute(select(review_items).where(review_items.c.model == "bears")).all()
    ids = {event.event_id for event in field.sealed}
    mine = [row for row in found if row.subject in ids]
    assert {row.subject for row in mine} == drawn
    assert {(row.reason, row.priority) for row in mine} <= {("audit", 1.0)}
    # There a sealed event has not even a name.
    queue = field.client.get("/v1/review/items?limit=200").json()
    assert not {each["subject"] for each in queue} & ids


def test_no_sum_tells_what_one_more_sealed_input_added(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    bundle, old = installation.serve(version="2"), installation.serve(version="1")
    installation.route(bundle, old)
    context = installation.monitor()
    recent = datetime.now(UTC) - timedelta(minutes=10)

    def one_more(number: int) -> None:
        event = in_shadow(installation.event(bundle, p_semantic=0.001), number)
        installation.record([msgspec.structs.replace(event, at=recent)])
        ingest(context, installation.clock)

    def told() -> object:
        candidate = look(context).models[0]
        shown = [(each.stream, each.log_evidence) for each in candidate.streams]
        tenths = [each.evidence_ratio * 10 for each in candidate.streams]
        assert all(each == pytest.approx(round(each)) for each in tenths)
        return candidate.traffic.flagged, shown

    one_more(0)
    before = told()
    one_more(1)
    assert told() == before
    assert look(context).models[0].traffic.ok == 2


def test_windows_tell_no_classes_of_a_version_in_shadow_and_no_flags_of_few() -> None:
    def stored(sha: str, count: int) -> StoredSummary:
        summary = summarise(
            predictions=["teddy"] * count,
            confidences=[0.9] * count,
            p_semantic=[0.001] * count,
            p_domain=[0.5] * count,
            flagged=count,
        )
        return StoredSummary(
            model="bears",
            segment="",
            window=Window(start=START, end=START + timedelta(minutes=5)),
            revision=0,
            bundle_sha=sha,
            data=summary.to_bytes(),
        )

    few = read_window([stored("new", 49), stored("old", 40)], 30, sealed="new")
    assert (few.ok, few.classes, few.flagged.of) == (89, {"teddy": 40}, 40)
    many = read_window([stored("new", 50), stored("old", 40)], 30, sealed="new")
    assert (many.classes, many.flagged.of) == ({"teddy": 40}, 90)
    alone = read_window([stored("new", 20)], 30, sealed="new")
    assert (alone.ok, dict(alone.classes), alone.flagged.of) == (20, {}, 0)
    assert read_window([stored("new", 20)], 30).classes == {"teddy": 20}


def test_an_alarm_counts_sealed_inputs_and_shows_none(field: Field) -> None:
    evidence = field.client.get(f"/v1/alarms/{field.alarm}").json()["evidence"]
    ids = {event.event_id for event in field.sealed}
    assert 0 < evidence["sealed"] <= evidence["looked_at"]
    assert not ids & {each["event_id"] for each in evidence["worst"]}
    [listed] = [a for a in field.client.get("/v1/alarms").json() if a["id"] == field.alarm]
    for told in (evidence, listed["evidence"]):
        assert {crossing["event_id"] for crossing in told["crossings"]} == {HIDDEN}
    story = field.client.get(f"/v1/alarms/{field.alarm}/explanation").json()
    assert story["looked_at"] > len(story["worst"])
    # By blocks of fifty: the last ten of sixty wait for forty more.
    start = datetime.fromisoformat(story["window"]["start"])
    told = [each for each in [*field.opened, *field.sealed[:50]] if each.at >= start]
    assert story["looked_at"] == len(told)
    assert any("sealed" in note for note in story["notes"])


def test_a_chosen_range_leaves_sealed_events_out(field: Field) -> None:
    first, last = _utc(field.sealed[0]), _utc(field.sealed[-1])
    found = field.client.get(f"/v1/models/bears/explanation?from={first}&to={last}").json()
    assert found["looked_at"] == 0
    assert found["flagged"]["of"] == 0
    assert any("sealed" in note for note in found["notes"])


def test_the_time_before_a_chosen_range_leaves_sealed_events_out_too(field: Field) -> None:
    """Or two ranges that begin an event apart would tell what was said of that event."""
    after = field.sealed[-1].at + timedelta(seconds=1)
    span = {"from": after.isoformat(), "to": (after + timedelta(seconds=1)).isoformat()}
    found = field.client.get("/v1/models/bears/explanation", params=span).json()
    inside = field.sealed[10].at + timedelta(milliseconds=1)
    other = field.client.get(
        "/v1/models/bears/explanation", params=span | {"from": inside.isoformat()}
    ).json()
    assert [each["before"] for each in found["classes"]] == [
        each["before"] for each in other["classes"]
    ]
    assert sum(each["episodes"] for each in found["timeline"]["bins"]) <= len(field.opened)


@pytest.mark.parametrize("address", ["/v1/events/{id}/explanation", "/events/{id}"])
def test_an_explanation_of_a_sealed_event_is_refused(field: Field, address: str) -> None:
    event_id = field.sealed[2].event_id
    answer = field.client.get(address.format(id=event_id))
    assert answer.status_code == 409
    assert "sealed" in answer.text
    with pytest.raises(EventSealed, match=event_id):
        check_seal(field.context, event_id)


def test_a_decision_about_the_event_or_its_case_opens_it_and_nothing_else(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    bundle = installation.serve()
    by_event, by_case, closed = (in_shadow(installation.event(bundle), n) for n in range(3))
    [never] = [installation.event(bundle)]
    installation.record([by_event, by_case, closed, never])
    context = installation.monitor()
    rows = [
        (1, {"event_id": by_event.event_id, "label": "teddy"}),
        (2, {"case_id": "case-1", "label": "teddy"}),
        (3, {"case_id": "another case", "label": "teddy"}),
    ]
    delivery = Delivery(model=None, decided_by="ann", source="test", recorded_by="ann")
    assert decide(context, rows, delivery, installation.clock).refused == 0

    for event in (by_event, by_case):
        found = check_seal(context, event.event_id)
        assert found.holds
        assert found.commitment == event.commitment
        assert json.loads(found.statement)["prediction"] == event.prediction
        assert commit(bytes.fromhex(found.nonce), json.loads(found.statement)) == event.commitment
        assert not check_seal(context, event.event_id, "0" * 64).holds
    with pytest.raises(EventSealed):
        check_seal(context, closed.event_id)
    with pytest.raises(NotFound, match="seal of event"):
        check_seal(context, never.event_id)

    token = key_desk.create(installation.engine, "ann", Role.VIEWER, "test", installation.clock)
    client = TestClient(make_app(context), headers={"X-API-Key": token})
    shown = client.get(f"/v1/events/{by_case.event_id}").json()
    assert shown["event"]["prediction"] == by_case.prediction
    assert by_case.nonce is not None
    assert shown["nonce"] == by_case.nonce.hex()
    hidden = client.get(f"/v1/events/{closed.event_id}").json()
    assert (hidden["event"]["sealed"], hidden["nonce"]) == (True, None)
