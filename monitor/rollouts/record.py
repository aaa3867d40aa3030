"""Write an event into the log of an attempt: the attempt as it is afterwards, and the row."""

from dataclasses import replace

import msgspec

from monitor.rollouts import transition
from monitor.rollouts.apply import apply, begin
from monitor.rollouts.chain import GENESIS, Link, seal
from monitor.rollouts.rollout import Rollout
from monitor.rollouts.transition import Event, Started


def record(rollout: Rollout, event: Event) -> tuple[Rollout, Link]:
    """Apply an event and close it into the chain.

    Parameters
    ----------
    rollout
        As it stands; its state is not looked at when the event starts it.
    event
        What happens to it.

    Raises
    ------
    Impossible
        If it cannot happen to this rollout.
    """
    starts = isinstance(event.change, Started)
    state = begin(event) if starts else apply(rollout.state, event)
    link = seal(
        rollout.id,
        sequence=state.sequence,
        kind=event.type,
        actor=event.actor,
        reason=event.reason,
        plan_hash=rollout.plan_hash,
        evidence_hash=event.evidence_hash,
        key=event.key,
        document=transition.to_json(event.change),
        at=event.at,
        previous_hash=GENESIS if starts else rollout.state.head,
    )
    moved = replace(
        rollout,
        state=msgspec.structs.replace(state, head=link.hash),
        state_version=state.sequence,
        ended_at=rollout.ended_at if state.ended is None else state.ended.at,
    )
    return moved, link
