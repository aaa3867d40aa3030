"""Explanations of pictures that a real model saw, with all that a bundle of today remembers."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from uuid6 import uuid7

from monitor.domain import Actor, Reason, Status, Window
from monitor.services.context import Context
from monitor.services.explanations.explain import explain_range
from monitor.services.explanations.explanation import PictureState
from monitor.services.explanations.window_rows import read_window
from monitor.settings import MonitorSettings
from monitor.stats.windows.compare_window import FindingKind
from monitor.store.event import Event, to_arrow
from monitor.store.payloads import Payloads, reference_of
from monitor.web.rendering import page_of
from monitor.wiring import make_context
from reference_data import window_reference
from reference_data.bundle import Bundle
from reference_data.preprocess import UNLIMITED
from reference_data.scoring import Scored, Scorer
from reference_data.thumbnail import thumbnail
from tests.inference.tiny_model import encoded, install
from tests.reference_data.tiny_reference import darker, drawn, make_bundle

START = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
END = START + timedelta(hours=1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window_reference, "DRAWS", 2_000)
        made = make_bundle(home / "bundles")
    install(home).serve(made)
    return made


@pytest.fixture(scope="module")
def context(bundle: Bundle) -> Context:
    """An hour in which every other picture was taken in the dark, by one of two cameras."""
    home = bundle.path.parents[2]
    made = make_context(MonitorSettings.model_validate({"store": {"home": home}}))
    payloads = Payloads(made.settings.store.payloads)
    scorer = Scorer.open(bundle)
    events = []
    for place in range(160):
        dark = place % 2 == 1
        image = darker(drawn(40_000 + place)) if dark else drawn(40_000 + place)
        prepared = scorer.prepare(encoded(image), UNLIMITED)
        event_id, at = str(uuid7()), START + timedelta(seconds=20 * place)
        [scored] = scorer.score(prepared.tensor[None], [event_id])
        assert isinstance(scored, Scored)
        reference = reference_of("colours", at, event_id) if scored.flagged else None
        if reference is not None:
            payloads.put(reference, thumbnail(image, 256))
        events.append(
            Event(
                event_id=event_id,
                writer="gw",
                seq=place + 1,
                at=at,
                model="colours",
                version="1",
                bundle_sha=bundle.digest,
                episode_id=event_id,
                segment={"camera": "south" if dark else "north"},
                status=Status.OK,
                prediction=scored.prediction,
                confidence=scored.confidence,
                probabilities=scored.probabilities.tolist(),
                p_semantic=scored.p_semantic,
                p_domain=scored.p_domain,
                p_value=scored.p_value,
                flagged=scored.flagged,
                properties=prepared.properties,
                embedding=scored.embedding.astype("<f2").tobytes(),
                actor=Actor.HUMAN,
                reason=Reason.NO_PLAN,
                latency_ms=1.0,
                payload_ref=reference,
            )
        )
    made.events.append(to_arrow(events), writer="gw", last_seq=160)
    return made


def test_a_dark_camera_is_found_by_its_pictures(context: Context) -> None:
    found = explain_range(context, "colours", START, END)
    assert " with camera south " in found.headline
    assert "% of the others are" in found.headline
    assert "darker" in found.headline
    assert found.segments[0].value == "south"
    assert all(each.picture is PictureState.KEPT for each in found.worst)
    assert all(each.segment == {"camera": "south"} for each in found.worst)
    assert {each.name for each in found.properties[:3]} & {"brightness", "contrast"}
    assert all(np.isclose(sum(each.tenths), 1) for each in found.scores)

    differing = {each.kind for each in found.tests if each.differs}
    assert FindingKind.EMBEDDING in differing
    assert found.estimated.rows == 160
    assert found.accuracy.startswith(("unknown: ", "1", "2", "3", "4", "5", "6", "7", "8", "9"))
    page = page_of(context, found)
    assert "The window against the reference, test by test" in page
    assert page.count("data:image/jpeg") > 20


def test_the_tests_are_of_exactly_the_rows_that_are_shown(context: Context) -> None:
    early = explain_range(context, "colours", START, START + timedelta(minutes=20))
    assert early.looked_at == 60
    current = {each.measurement.n_current for each in early.tests}
    assert max(current) == 60


def test_a_segment_of_a_window_is_what_carries_its_value(context: Context, bundle: Bundle) -> None:
    rows = read_window(context.events, "colours", Window(start=START, end=END), bundle.digest)
    south = rows.of_segment("camera", "south")
    assert (len(south), south.total, south.others) == (80, 80, 0)
    assert len(rows.of_segment("camera", "west")) == 0
    other = rows.of_bundle("0" * 64)
    assert (len(other), other.total, other.others) == (0, 160, 160)
