"""List signals: what Alertmanager told that is no alarm of ours, and the silences of either."""

from collections.abc import Iterable
from dataclasses import dataclass

from monitor.domain import Alarm
from monitor.services.context import Context
from monitor.services.identify import identify_signal
from monitor.services.signals.mirror import subject_of_alarm, subject_of_signal
from monitor.store.engine import reading
from monitor.store.signal import Signal, SignalState
from monitor.store.signals import Signals
from monitor.store.silence import Origin, Silence, SilenceState
from monitor.store.silences import Silences


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What Alertmanager knows of an alarm."""

    signals: tuple[Signal, ...]
    """The alerts that speak of it, the newest first."""
    silences: tuple[Silence, ...]
    """The silences about it, the newest first."""


def list_signals(
    context: Context,
    *,
    model: str | None = None,
    everything: bool = False,
    linked: bool = False,
    limit: int = 100,
) -> list[Signal]:
    """List signals that fire, or all of them, newest first.

    Parameters
    ----------
    context
        The process's.
    model
        Whose; all when absent.
    everything
        Resolved ones too.
    linked
        Those that speak of an alarm of ours too.
    limit
        At most this many.
    """
    with reading(context.engine) as conn:
        return Signals(conn).all(
            model=model,
            state=None if everything else SignalState.FIRING,
            linked=linked,
            limit=limit,
        )


def show_signal(context: Context, signal_id: str) -> Signal:
    """Show one signal by its id, or by a beginning that no other shares.

    Raises
    ------
    NotFound
        If there is none.
    AmbiguousId
        If several begin so.
    """
    full = identify_signal(context, signal_id)
    with reading(context.engine) as conn:
        found = Signals(conn).get(full)
    assert found is not None, full
    return found


def told_of(context: Context, alarm_id: str) -> Told:
    """Read what Alertmanager knows of an alarm."""
    subject = subject_of_alarm(alarm_id)
    with reading(context.engine) as conn:
        return Told(
            signals=tuple(Signals(conn).of_alarm(alarm_id)),
            silences=tuple(Silences(conn).of([subject]).get(subject, ())),
        )


def list_silences(context: Context, *, everything: bool = False) -> list[Silence]:
    """List the silences that stand, are to be made or to be ended; or all, newest first."""
    with reading(context.engine) as conn:
        found = Silences(conn).all()
    return [each for each in found if everything or each.state is not SilenceState.ENDED]


def latest_silences(
    context: Context, alarms: Iterable[Alarm] = (), signals: Iterable[Signal] = ()
) -> dict[str, Silence]:
    """Find the silence to speak of, as `foremost` does, those that are over too."""
    subjects = [subject_of_alarm(alarm.id) for alarm in alarms]
    subjects += [subject_of_signal(signal.id) for signal in signals]
    if not subjects:
        return {}
    with reading(context.engine) as conn:
        found = Silences(conn).of(subjects)
    return foremost(each for about in found.values() for each in reversed(about))


def foremost(silences: Iterable[Silence]) -> dict[str, Silence]:
    """Pick the silence to speak of, by the id of its alarm or signal: one that stands, else the
    last.

    Parameters
    ----------
    silences
        The oldest first.
    """
    picked: dict[str, Silence] = {}
    for silence in silences:
        about = silence.subject.partition("/")[2]
        before = picked.get(about)
        if (
            before is None
            or before.state is SilenceState.ENDED
            or silence.state is not SilenceState.ENDED
        ):
            picked[about] = silence
    return picked


def say_silence(silence: Silence) -> str:
    """Say how a silence stands, in a few words."""
    match silence.state:
        case SilenceState.PENDING:
            return "silence pending"
        case SilenceState.ACTIVE:
            until = f"{silence.ends_at:%m-%d %H:%M}"
            there = " there" if silence.origin is Origin.ALERTMANAGER else ""
            return f"silenced{there} until {until}"
        case SilenceState.ENDING:
            return "silence ending"
        case SilenceState.ENDED:
            return "silence over"
