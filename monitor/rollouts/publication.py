"""What gateways are told about a rollout: its plan and state as the next snapshot of the route."""

from datetime import datetime
from typing import assert_never

import msgspec

from monitor.domain import Stage
from monitor.rollouts.plan import LimitedStage, Position
from monitor.rollouts.rollout import Rollout
from monitor.rollouts.snapshot import BUCKETS, Incumbent, Scope, Snapshot
from monitor.rollouts.state import End


def publication(rollout: Rollout, by: str, now: datetime) -> Snapshot:
    """Write the snapshot that belongs to where a rollout stands.

    Its epoch is the state's last one; publishing gives it the same.

    Parameters
    ----------
    rollout
        In the state to be published.
    by, now
        Recorded.
    """
    ended = rollout.state.ended
    if ended is None:
        return _step(rollout, rollout.position, by, now)
    match ended.end:
        case End.COMPLETED:
            return msgspec.structs.replace(
                _candidate(rollout, Stage.COMPLETED, by, now), exposed_buckets=BUCKETS
            )
        case End.ROLLED_BACK if ended.shadowing:
            return shadowing(rollout, by, now)
        case End.ROLLED_BACK | End.ABORTED | End.SUPERSEDED:
            return base(rollout, by, now)
        case _:
            assert_never(ended.end)


def shadowing(rollout: Rollout, by: str, now: datetime) -> Snapshot:
    """Write the snapshot of a candidate that acts on nothing: humans act, or the incumbent."""
    snapshot = _candidate(rollout, Stage.SHADOW, by, now)
    return msgspec.structs.replace(snapshot, sealed=True, incumbent=incumbent(rollout))


def base(rollout: Rollout, by: str, now: datetime) -> Snapshot:
    """Write the snapshot that was there before the rollout; without one, only observe."""
    before = rollout.state.base
    epoch = rollout.state.epochs[-1]
    if before is not None:
        return msgspec.structs.replace(before, epoch=epoch, published_at=now, published_by=by)
    return Snapshot(
        model=rollout.model,
        epoch=epoch,
        stage=Stage.OBSERVE,
        version=rollout.version,
        bundle_sha=rollout.bundle_sha,
        published_at=now,
        published_by=by,
        max_staleness_s=rollout.plan.max_staleness_s,
        episode_gap_s=rollout.plan.episode_gap_s,
    )


def incumbent(rollout: Rollout) -> Incumbent | None:
    """Name the version that acts where the candidate does not: one whose rollout completed."""
    before = rollout.state.base
    if before is None or before.stage is not Stage.COMPLETED:
        return None
    return Incumbent(
        version=before.version,
        bundle_sha=before.bundle_sha,
        levers=before.levers,
        confidence_floor=before.confidence_floor,
        out_of_domain_guard=before.out_of_domain_guard,
    )


def _step(rollout: Rollout, position: Position, by: str, now: datetime) -> Snapshot:
    if position.stage is Stage.SHADOW:
        return msgspec.structs.replace(shadowing(rollout, by, now), step=position.step)
    return msgspec.structs.replace(
        _candidate(rollout, position.stage, by, now),
        step=position.step,
        exposed_buckets=round(position.share / 100.0 * BUCKETS),
        scope=_scope(rollout) if position.stage is Stage.LIMITED else None,
        incumbent=incumbent(rollout),
    )


def _scope(rollout: Rollout) -> Scope:
    for stage in rollout.plan.stages:
        if isinstance(stage, LimitedStage):
            return stage.scope
    return Scope(units=())  # names nobody, so nobody is exposed


def _candidate(rollout: Rollout, stage: Stage, by: str, now: datetime) -> Snapshot:
    plan = rollout.plan
    return Snapshot(
        model=rollout.model,
        epoch=rollout.state.epochs[-1],
        stage=stage,
        version=rollout.version,
        bundle_sha=rollout.bundle_sha,
        published_at=now,
        published_by=by,
        max_staleness_s=plan.max_staleness_s,
        episode_gap_s=plan.episode_gap_s,
        attempt=rollout.attempt,
        rollout=rollout.name,
        salt=rollout.salt,
        hold_out=plan.hold_out,
        levers=plan.levers,
        confidence_floor=plan.confidence_floor,
        out_of_domain_guard=plan.out_of_domain_guard,
    )
