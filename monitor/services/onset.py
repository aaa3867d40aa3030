"""When what an alarm tells of began, without reading an event."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from monitor.domain import Alarm, AlarmKind, Crossing


def began(standing: Sequence[Alarm], model: str, bundle_sha: str) -> Mapping[AlarmKind, datetime]:
    """Give the earliest onset of each kind that stands open.

    Parameters
    ----------
    standing
        Alarms that are open, of any model.
    model, bundle_sha
        Whose alarms count.
    """
    found: dict[AlarmKind, datetime] = {}
    for alarm in standing:
        if (alarm.model, alarm.bundle_sha) == (model, bundle_sha):
            onsets = [alarm.opened_at, *map(onset_of, alarm.evidence.crossings)]
            found[alarm.kind] = min(found.get(alarm.kind, alarm.opened_at), *onsets)
    return found


def onset_of(crossing: Crossing) -> datetime:
    """Read the time in the id of the event at the onset: the gateway makes ids of version 7.

    An event that was predicted elsewhere and taken in later got its id then; the crossing itself is
    never before its onset.
    """
    try:
        made = UUID(crossing.onset_event_id)
    except ValueError:
        return crossing.at
    if made.version != 7:
        return crossing.at
    return min(crossing.at, datetime.fromtimestamp((made.int >> 80) / 1000, UTC))
