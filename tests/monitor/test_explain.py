"""What changed, as data and as a page: true to the record, harmless whatever the record says."""

import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from prometheus_client import CollectorRegistry
from pyarrow import parquet
from typing_extensions import override

from monitor.domain import Alarm, Role, Status
from monitor.errors import NotFound, OptionInvalid
from monitor.services.context import Context
from monitor.services.explanations.explain import explain_alarm, explain_event, explain_range
from monitor.services.explanations.explanation import Explanation, PictureState
from monitor.services.ingest import ingest
from monitor.store.alarms import Alarms
from monitor.store.bundles import Bundles
from monitor.store.engine import reading
from monitor.store.event import Event
from monitor.store.keys import Keys
from monitor.store.payloads import Payloads, reference_of
from monitor.store.routes import Routes
from monitor.web.app import create_app
from monitor.web.rendering import page_of
from reference_data.bundle import Bundle
from reference_data.held_out import HeldOut
from tests.monitor.installation import DIMENSION, ITEMS, START, VOCAB, Installation, write_bundle

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}"


def jpeg(shade: int = 90, side: int = 12) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (shade, shade, shade)).save(buffer, "JPEG")
    return buffer.getvalue()


def held_out(rows: int = 300) -> bytes:
    rng = np.random.default_rng(2)
    return HeldOut(
        rows=np.arange(rows),
        role=np.full(rows, "calibrate"),
        labels=rng.integers(0, 3, rows),
        logits=rng.normal(size=(rows, 3)).astype(np.float32),
        embedding=rng.normal(size=(rows, DIMENSION)).astype(np.float16),
        semantic=rng.normal(size=rows),
        domain=rng.normal(size=rows),
        properties={"brightness": rng.normal(0.5, 0.05, rows)},
        segments={},
    ).to_bytes()


def as_parquet(columns: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


class Site(Installation):
    """An installation whose bundle knows its held-out rows and shows its training pictures."""

    def serve_pictured(
        self, *, item: str = "train/{:02d}.jpg", with_held_out: bool = True
    ) -> Bundle:
        plain = self.serve()
        more = {
            "reference.parquet": as_parquet(
                {
                    "path": [item.format(i) for i in range(ITEMS)],
                    "label": [VOCAB[i % 3] for i in range(ITEMS)],
                }
            ),
            "thumbnails.parquet": as_parquet(
                {"row": list(range(ITEMS)), "jpeg": [jpeg(5 * i) for i in range(ITEMS)]}
            ),
        }
        if with_held_out:
            more["held_out.npz"] = held_out()
        parent = self.settings.store.bundles / "bears"
        bundle = write_bundle(parent, version="2", more=more)
        with self.engine.begin() as conn:
            Bundles(conn).register(
                bundle.digest, "bears", "2", str(bundle.path), True, "test", START
            )
            routes = Routes(conn)
            current = routes.current()["bears"]
            assert current.bundle_sha == plain.digest
            routes.publish(
                msgspec.structs.replace(current, version="2", bundle_sha=bundle.digest),
                current.epoch,
            )
        return bundle

    def pictured(self, event: Event) -> Event:
        """Keep a picture of an event, as the gateway does."""
        reference = reference_of(event.model, event.at, event.event_id)
        Payloads(self.settings.store.payloads).put(reference, jpeg())
        return msgspec.structs.replace(event, payload_ref=reference)

    def strange(self, bundle: Bundle, count: int, **fields: Any) -> list[Event]:
        """Make dark events of no known class."""
        return [
            self.pictured(
                msgspec.structs.replace(
                    self.event(bundle, p_semantic=float(self.rng.uniform(0, 0.01))),
                    properties={"brightness": 0.1 + 0.01 * float(self.rng.uniform())},
                    **fields,
                )
            )
            for _ in range(count)
        ]

    def alarm(self, context: Context) -> Alarm:
        """Let the detectors look; return the novelty alarm."""
        ingest(context, self.clock)
        with reading(self.engine) as conn:
            return next(a for a in Alarms(conn).all(model="bears") if a.kind == "novelty")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "home")


def healthy(site: Site, bundle: Bundle, count: int, **fields: Any) -> None:
    site.record([msgspec.structs.replace(site.event(bundle), **fields) for _ in range(count)])


def test_an_alarm_is_explained_by_what_it_looks_like_what_moved_where_and_when(
    site: Site,
) -> None:
    bundle = site.serve_pictured()
    healthy(site, bundle, 80, unit="cam-1")
    begun = site.clock
    mixed: list[Event] = []
    for _ in range(20):
        mixed += site.strange(bundle, 2, unit="cam-03", segment={"light": "night"})
        day = site.event(bundle, unit="cam-1")
        mixed.append(msgspec.structs.replace(day, segment={"light": "day"}))
    site.record(mixed)
    context = site.monitor()
    found = explain_alarm(context, site.alarm(context).id)

    assert found.headline.startswith("Since ")
    assert "inputs of bears with " in found.headline
    assert "Against training they are darker." in found.headline
    assert found.flagged.low > found.expected_flag_rate
    assert found.timeline.onset is not None
    assert abs(found.timeline.onset - begun) < timedelta(seconds=10)
    assert found.timeline.crossings
    assert found.timeline.bins[0].start < found.timeline.onset
    assert sum(each.episodes for each in found.timeline.bins) >= found.episodes
    assert found.seen_by == "semantic"
    [brightness] = found.properties
    assert brightness.shift.high < 0.5
    assert brightness.median_at == 0.0
    assert {(s.column, s.value) for s in found.segments[:2]} == {
        ("unit", "cam-03"),
        ("light", "night"),
    }
    assert (found.segments[0].contribution or 0) > 0.9
    worst = [each.p_semantic for each in found.worst]
    assert worst == sorted(worst)
    assert all(each.picture is PictureState.KEPT for each in found.worst)
    assert all(len(each.nearest) == 3 for each in found.worst)
    assert sum(each.stands_for or 0 for each in found.representative) == pytest.approx(1)
    assert found.accuracy.startswith("unknown")
    assert msgspec.json.decode(msgspec.json.encode(found, enc_hook=str))["headline"]


def test_the_quiet_end_of_an_alarm_is_left_out(site: Site) -> None:
    bundle = site.serve_pictured()
    healthy(site, bundle, 50)
    site.record(site.strange(bundle, 40))
    healthy(site, bundle, 300)
    context = site.monitor()
    alarm = site.alarm(context)
    assert alarm.resolved_at is not None
    found = explain_alarm(context, alarm.id[:30])
    assert found.headline.startswith("From ")
    assert 35 <= found.episodes < 130
    assert found.window.end < alarm.resolved_at


def test_frames_of_one_burst_count_once(site: Site) -> None:
    bundle = site.serve_pictured()
    burst = site.strange(bundle, 60)
    site.record([msgspec.structs.replace(e, episode_id=burst[0].event_id) for e in burst])
    context = site.monitor()
    found = explain_range(context, "bears", START, site.clock + timedelta(seconds=1))
    assert (found.looked_at, found.episodes, found.flagged.of) == (60, 1, 1)
    assert found.flagged.estimate is None
    assert "too few to say more" in found.headline
    assert found.properties == ()
    assert len(found.worst) == 1
    assert len(found.representative) >= 1


def everything(site: Site, context: Context) -> Explanation:
    return explain_range(context, "bears", START, site.clock + timedelta(seconds=1))


def test_a_healthy_window_looks_as_training_did(site: Site) -> None:
    bundle = site.serve_pictured()
    healthy(site, bundle, 200, properties={"brightness": 0.5})
    found = everything(site, site.monitor())
    assert "look much as training's did" in found.headline
    assert found.alarm is None
    assert found.seen_by is None
    assert all(each.contribution is None for each in found.segments)


def test_a_window_without_flagged_inputs_and_of_one_class_is_explained(site: Site) -> None:
    bundle = site.serve_pictured()
    fields = {"prediction": "teddy", "flagged": False, "p_semantic": 0.5, "p_domain": 0.5}
    healthy(site, bundle, 60, **fields)
    found = everything(site, site.monitor())
    assert (found.flagged.count, found.flagged.of) == (0, 60)
    assert found.classes[0].label == "teddy"
    assert found.class_distance == pytest.approx(2 / 3)
    assert "<html" in page_of(site.monitor(), found)


def test_a_bundle_without_held_out_rows_says_what_it_cannot_tell(site: Site) -> None:
    bundle = site.serve_pictured(with_held_out=False)
    site.record(site.strange(bundle, 40))
    found = everything(site, site.monitor())
    assert found.properties == ()
    assert any("import the model again" in note for note in found.notes)
    assert "Nothing can be said" in page_of(site.monitor(), found)


def test_an_alarm_whose_events_were_erased_keeps_what_was_stored_with_it(site: Site) -> None:
    bundle = site.serve_pictured()
    healthy(site, bundle, 50)
    site.record(site.strange(bundle, 40))
    alarm = site.alarm(site.monitor())
    shutil.rmtree(site.settings.store.events)
    context = site.monitor()
    found = explain_alarm(context, alarm.id)
    assert (found.looked_at, found.worst, found.representative) == (0, (), ())
    assert "no scored input of bears is recorded: nothing is known" in found.headline
    assert any("erased" in note for note in found.notes)
    page = page_of(context, found)
    assert alarm.evidence.worst[0].event_id in page
    with pytest.raises(NotFound):
        explain_event(context, alarm.evidence.worst[0].event_id)


def test_a_picture_that_is_gone_is_said_to_be(site: Site) -> None:
    bundle = site.serve_pictured()
    events = site.strange(bundle, 12)
    site.record(events)
    gone = events[0]
    assert gone.payload_ref is not None
    (site.settings.store.payloads / gone.payload_ref).unlink()
    healthy(site, bundle, 1)
    context = site.monitor()
    found = explain_event(context, gone.event_id)
    assert found.exhibit.picture is PictureState.GONE
    assert "its picture is gone" in page_of(context, found)
    states = {each.picture for each in everything(site, context).worst}
    assert PictureState.KEPT in states


def test_one_event_is_held_against_training(site: Site) -> None:
    bundle = site.serve_pictured()
    [event] = site.strange(bundle, 1)
    site.record([event])
    context = site.monitor()
    found = explain_event(context, event.event_id)
    assert "flagged" in found.headline
    assert "Against training it is darker." in found.headline
    assert [(p.name, p.at) for p in found.properties] == [("brightness", 0.0)]
    assert len(found.exhibit.nearest) == 3
    assert found.within_class is not None
    assert found.within_class.rows > 50
    assert 0 < (found.within_class.p_semantic or 0) < 0.1
    assert "calibration rows were given" in page_of(context, found)
    rejected = site.event(bundle, status=Status.REJECTED)
    site.record([rejected])
    with pytest.raises(NotFound, match="not_an_image"):
        explain_event(site.monitor(), rejected.event_id)


@pytest.mark.parametrize("embedding", [None, b"", b"\x00\x3c" * 3, b"\x00\x7e" * DIMENSION])
def test_embeddings_that_cannot_be_compared_have_no_neighbours(
    site: Site, embedding: bytes | None
) -> None:
    bundle = site.serve_pictured()
    site.record(site.strange(bundle, 5, embedding=embedding))
    found = everything(site, site.monitor())
    assert all(each.nearest == () for each in found.worst)
    assert found.representative


def test_other_bundles_and_failures_are_left_out_and_named(site: Site) -> None:
    bundle = site.serve_pictured()
    events = [site.event(bundle, bundle_sha="0" * 64), site.event(bundle, status=Status.ERROR)]
    site.record([*events, *site.strange(bundle, 30)])
    found = everything(site, site.monitor())
    assert (found.events, found.looked_at) == (32, 30)
    assert any(note.startswith("2 events were rejected") for note in found.notes)


def test_a_long_window_is_sampled_and_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = site.serve_pictured()
    site.record(site.strange(bundle, 50))
    table, total = site.log().sampled(
        "bears", START, site.clock + timedelta(seconds=1), ["event_id", "at"], 20
    )
    assert (table.num_rows, total) == (20, 50)
    assert table["at"].to_pylist() == sorted(table["at"].to_pylist())
    monkeypatch.setattr("monitor.services.explanations.window_rows.MOST_READ", 20)
    found = everything(site, site.monitor())
    assert (found.events, found.looked_at) == (50, 20)
    assert any("random sample of 20 of 50" in note for note in found.notes)


def test_an_empty_range_and_an_unknown_model_are_refused(site: Site) -> None:
    site.serve_pictured()
    context = site.monitor()
    with pytest.raises(OptionInvalid):
        explain_range(context, "bears", site.clock, site.clock)
    with pytest.raises(NotFound):
        explain_range(context, "cats", START, site.clock + timedelta(seconds=1))
    found = everything(site, context)
    assert found.looked_at == 0


class Suspicious(HTMLParser):
    """Collects whatever a page could run or request."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.images = 0

    @override
    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if tag in {"script", "iframe", "object", "embed", "link", "form", "a", "base"}:
            self.found.append(tag)
        for name, value in attrs:
            local = tag == "img" and name == "src" and (value or "").startswith("data:image/jpeg")
            self.images += local
            if name.startswith("on") or (name in {"src", "href", "srcset"} and not local):
                self.found.append(f"{tag} {name}={value}")
            if name == "alt":
                assert value


def test_hostile_names_are_text_and_the_page_asks_for_nothing(site: Site) -> None:
    bundle = site.serve_pictured(item=HOSTILE.replace("{{7*7}}", "") + "{:02d}.jpg")
    site.record(site.strange(bundle, 20, unit=HOSTILE, case_id=HOSTILE, segment={HOSTILE: HOSTILE}))
    site.record(site.strange(bundle, 20, prediction=HOSTILE, unit="cam-1"))
    context = site.monitor()
    found = everything(site, context)
    for page in (
        page_of(context, found),
        page_of(context, explain_event(context, found.worst[0].event_id)),
    ):
        suspicious = Suspicious()
        suspicious.feed(page)
        assert suspicious.found == []
        assert suspicious.images > 0
        assert "&lt;script&gt;" in page
        assert "49" not in page.partition("onerror=alert(2)&gt;")[2][:10]
        assert "http" not in page.replace("http-equiv", "")


def test_what_is_no_picture_is_not_drawn(site: Site) -> None:
    bundle = site.serve_pictured()
    [event] = site.strange(bundle, 1)
    site.record([event])
    assert event.payload_ref is not None
    path = site.settings.store.payloads / event.payload_ref
    path.write_bytes(b"\xff\xd8\xff<script>alert(1)</script>")
    context = site.monitor()
    page = page_of(context, explain_event(context, event.event_id))
    assert "its picture is gone" in page


class Nothing:
    def start(self) -> None: ...

    def stop(self) -> None: ...


@pytest.fixture
def client(site: Site) -> Callable[[Role | None], TestClient]:
    def made(role: Role | None) -> TestClient:
        client = TestClient(create_app(site.monitor(), CollectorRegistry(), Nothing()))
        if role is not None:
            with site.engine.begin() as conn:
                client.auth = ("any", Keys(conn).create("ann", role, site.clock))
        return client

    return made


def test_explanations_are_served_as_data_and_as_pages_to_whoever_has_a_key(
    site: Site, client: Callable[[Role | None], TestClient]
) -> None:
    bundle = site.serve_pictured()
    healthy(site, bundle, 50)
    events = site.strange(bundle, 40)
    site.record(events)
    alarm = site.alarm(site.monitor())
    stretch = f"from={START.isoformat()}&to={(site.clock + timedelta(1)).isoformat()}"
    stretch = stretch.replace("+", "%2B")
    viewer, stranger = client(Role.VIEWER), client(None)
    for data, page in (
        (f"/v1/alarms/{alarm.id}/explanation", f"/alarms/{alarm.id}"),
        (f"/v1/events/{events[0].event_id}/explanation", f"/events/{events[0].event_id}"),
        (f"/v1/models/bears/explanation?{stretch}", f"/models/bears/explanation?{stretch}"),
    ):
        answer = viewer.get(data)
        assert answer.status_code == 200, answer.text
        assert answer.json()["headline"]
        drawn = viewer.get(page)
        assert drawn.status_code == 200
        assert answer.json()["headline"].partition(". ")[0][:40] in drawn.text
        assert "default-src 'none'" in drawn.headers["content-security-policy"]
        assert drawn.headers["x-content-type-options"] == "nosniff"
        refused = stranger.get(page)
        assert refused.status_code == 401
        assert "Basic" in refused.headers["www-authenticate"]
    picture = viewer.get(f"/v1/events/{events[0].event_id}/picture")
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")
    assert viewer.get("/v1/events/none/picture").status_code == 404
    assert viewer.get("/alarms/none").status_code == 404
    assert (
        viewer.get(
            "/v1/models/bears/explanation?from=2026-01-01T00:00&to=2026-01-02T00:00"
        ).status_code
        == 422
    )


def test_an_explanation_without_a_segment_that_differs_names_none(site: Site) -> None:
    bundle = site.serve_pictured()
    site.record(site.strange(bundle, 40, unit=None))
    found = everything(site, site.monitor())
    assert found.segments == ()
    assert " with unit" not in found.headline
    assert replace(found, notes=()).notes == ()


def test_an_alarm_of_a_segment_is_explained_by_that_segment(site: Site) -> None:
    bundle = site.serve_pictured()
    healthy(site, bundle, 30, segment={"light": "day"})
    site.record(site.strange(bundle, 40, segment={"light": "night"}))
    healthy(site, bundle, 10, segment={"light": "day"})
    context = site.monitor()
    alarm = site.alarm(context)
    crossings = tuple(replace(each, segment="light=night") for each in alarm.evidence.crossings)
    with site.engine.begin() as conn:
        Alarms(conn).refresh(replace(alarm, evidence=replace(alarm.evidence, crossings=crossings)))
    found = explain_alarm(context, alarm.id)
    assert found.looked_at <= 40
    assert " with light=night " in found.headline
    assert all(each.segment == {"light": "night"} for each in found.worst)
    assert any("Only inputs with light=night" in note for note in found.notes)
