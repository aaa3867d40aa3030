"""A story's timeline says what had been counted when a thing happened, not when it was read."""

from datetime import UTC, datetime, timedelta

from benchmarks.story_field import Visit
from benchmarks.story_traffic import Passage, Traffic

BEGAN = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_a_moment_past_has_the_counts_it_had() -> None:
    traffic = Traffic(1, "", iter(()), 1.0)
    for second in range(10):
        at = BEGAN + timedelta(seconds=second)
        traffic.passages.append(
            Passage(
                case=f"wagon-{second}",
                visit=Visit(camera="cam-000", digit=1, picture=b""),
                sent_at=at,
                answered_at=at,
                actor="model",
                reason="exposed",
                action="switch to 2" if second >= 5 else "switch to 1",
                flagged=False,
                event_id=str(second),
            )
        )
    then = traffic.tallies_at(BEGAN + timedelta(seconds=6))
    assert (then.answered, then.actions, then.wrong) == (7, 7, 2)
    assert traffic.tallies_at(BEGAN - timedelta(seconds=1)).answered == 0
