"""The two tables of a report mean the same: pictures like the reference's look like it, column by
column, after the path that serves."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from uuid6 import uuid7

from monitor.domain import Actor, Reason, Status
from monitor.reports.job import ColumnVerdict, Verdict
from monitor.reports.thresholds import compare
from monitor.services.context import Context
from monitor.services.reports.sample import draw
from monitor.settings import MonitorSettings
from monitor.store.bundles import Bundles, RegisteredBundle
from monitor.store.event import Event, to_arrow
from monitor.wiring import make_context
from reference_data import window_reference
from reference_data.bundle import Bundle
from reference_data.preprocess import prepare
from reference_data.properties import measure
from reference_data.scoring import Scored, Scorer
from tests.inference.tiny_model import PREPROCESSING, install
from tests.reference_data.tiny_reference import darker, drawn, make_bundle

pytestmark = pytest.mark.statistics
START = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
WINDOWS, IN_EACH = 10, 60
LEVEL = 0.05


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> tuple[Context, RegisteredBundle]:
    """Ten hours of healthy pictures of one reference, and one hour in the dark."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window_reference, "DRAWS", 2_000)
        bundle = make_bundle(home / "bundles")
    install(home).serve(bundle)
    context = make_context(MonitorSettings.model_validate({"store": {"home": home}}))
    context.events.append(to_arrow(recorded(bundle)), writer="gw", last_seq=(WINDOWS + 1) * IN_EACH)
    with context.engine.begin() as conn:
        return context, Bundles(conn).trusted(bundle.digest)


def recorded(bundle: Bundle) -> list[Event]:
    scorer = Scorer.open(bundle, threads=1)
    events = []
    for place in range((WINDOWS + 1) * IN_EACH):
        image = drawn(40_000 + place)
        if place >= WINDOWS * IN_EACH:
            image = darker(image)
        event_id = str(uuid7())
        [scored] = scorer.score(prepare(image, PREPROCESSING)[None], [event_id])
        assert isinstance(scored, Scored)
        events.append(
            Event(
                event_id=event_id,
                writer="gw",
                seq=place + 1,
                at=START + timedelta(minutes=place),
                model="colours",
                version="1",
                bundle_sha=bundle.digest,
                episode_id=event_id,
                segment={"site": "north" if place % 2 else "south"},
                status=Status.OK,
                prediction=scored.prediction,
                confidence=scored.confidence,
                p_semantic=scored.p_semantic,
                p_domain=scored.p_domain,
                p_value=scored.p_value,
                flagged=scored.flagged,
                properties=measure(image, 1000),
                actor=Actor.HUMAN,
                reason=Reason.NO_PLAN,
                latency_ms=1.0,
            )
        )
    return events


def hour(served: tuple[Context, RegisteredBundle], number: int) -> tuple[ColumnVerdict, ...]:
    start = START + timedelta(hours=number)
    sample = draw(*served, start, start + timedelta(hours=1))
    return compare(
        sample.columns,
        sample.reference,
        sample.window,
        fewest_reference=100,
        fewest_window=30,
        level=LEVEL,
        draws=399,
        rng=np.random.default_rng(number),
    )


def drifted(columns: tuple[ColumnVerdict, ...]) -> set[str]:
    return {each.name for each in columns if each.verdict is Verdict.DRIFT}


def test_healthy_hours_look_like_the_reference_in_every_column(
    served: tuple[Context, RegisteredBundle],
) -> None:
    hours = [hour(served, number) for number in range(WINDOWS)]
    names = {each.name for each in hours[0]}
    assert names >= {"prediction", "confidence", "p_semantic", "p_domain", "segment.site"}
    assert names >= {"property.brightness", "property.saturation", "property.bytes"}
    assert all(each.verdict is not Verdict.INCONCLUSIVE for columns in hours for each in columns)
    # One reference may be a little unusual; a column that means something else is so every hour.
    assert sum(bool(drifted(columns)) for columns in hours) <= 3


def test_an_hour_in_the_dark_is_named_by_its_light_and_its_scores(
    served: tuple[Context, RegisteredBundle],
) -> None:
    found = drifted(hour(served, WINDOWS))
    assert found >= {"property.brightness", "property.saturation", "p_domain"}
    assert not found & {"property.width", "property.bytes", "segment.site"}
