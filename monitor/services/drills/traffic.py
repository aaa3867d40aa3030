"""How a model's episodes arrive: as recorded, or a stated assumption while nothing is."""

import statistics
from datetime import datetime, timedelta

from monitor.certificate import Traffic
from monitor.services.context import Context

LOOK_BACK = timedelta(days=7)
FEWEST_EPISODES = 100
"""Recorded episodes below which their pattern is not known yet."""
ASSUMED_PER_HOUR = 60.0


def arrivals(context: Context, model: str, now: datetime) -> Traffic:
    """Measure how a model's episodes arrived lately.

    Parameters
    ----------
    model
        Whose.
    now
        The end of the span that is looked at.
    """
    read_every_s = context.settings.monitor.ingest_every_s
    events = context.events.between(model, now - LOOK_BACK, now, ["at", "event_id", "episode_id"])
    # Beside an incumbent each input is recorded twice, at the same microsecond.
    begun = sorted(
        {
            at
            for at, event, episode in zip(
                *(events[name].to_pylist() for name in ("at", "event_id", "episode_id")),
                strict=True,
            )
            if event == episode
        }
    )
    span_h = (begun[-1] - begun[0]).total_seconds() / 3600 if begun else 0.0
    if len(begun) < FEWEST_EPISODES or span_h <= 0:
        return _assumed(read_every_s, len(begun))
    ticks: dict[int, int] = {}
    for at in begun:
        tick = int(at.timestamp() // read_every_s)
        ticks[tick] = ticks.get(tick, 0) + 1
    return Traffic(
        episodes_per_hour=len(begun) / span_h,
        batch=max(1, round(statistics.median(ticks.values()))),
        source=f"recorded: {len(begun):,} episodes in {span_h:.2g} h",
        recorded=True,
    )


def _assumed(read_every_s: float, found: int) -> Traffic:
    return Traffic(
        episodes_per_hour=ASSUMED_PER_HOUR,
        batch=max(1, round(ASSUMED_PER_HOUR / 3600 * read_every_s)),
        source=f"assumed, one episode a minute: {found} are recorded and {FEWEST_EPISODES} would "
        "show a pattern",
    )
