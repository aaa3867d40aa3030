"""Whether the gateway can answer, and what is missing or wrong, in sentences."""

from inference.context import Context
from inference.schemas import ModelReady, ModelState, Ready
from monitor.rollouts.snapshot import Snapshot


def readiness(context: Context) -> Ready:
    """Tell whether requests can be answered.

    A gateway that still serves a previous bundle, or lost its store, answers: taking it out of
    service would make an outage of a fault. Both are named under `degraded`.
    """
    missing: list[str] = []
    degraded: list[str] = []
    keeper = context.keeper
    plan = keeper.plan
    if plan is None:
        missing.append(keeper.trouble or "the plan was not read yet.")
        return Ready(ready=False, missing=missing)
    if keeper.trouble is not None:
        degraded.append(f"the plan is {keeper.age_s():.0f} s old: {keeper.trouble}")
    if not plan.routes:
        missing.append(context.predicting.why_no_route())
    for snapshot in plan.routes.values():
        reason = _why_not_current(context, snapshot)
        if reason is not None:
            served = bool(context.models.all_served(snapshot.model))
            (degraded if served else missing).append(f"{snapshot.model}: {reason}")
    if context.recorder is None:
        degraded.append("recording is switched off (gateway.recording).")
    elif context.recorder.trouble is not None:
        degraded.append(context.recorder.trouble)
    return Ready(ready=not missing, missing=missing, degraded=degraded)


def model_readiness(context: Context, snapshot: Snapshot) -> ModelReady:
    """Tell whether one model answers."""
    return ModelReady(
        name=snapshot.model,
        ready=bool(context.models.all_served(snapshot.model)),
        reason=_why_not_current(context, snapshot),
    )


def model_state(context: Context, snapshot: Snapshot) -> ModelState:
    """Describe one routed model."""
    served = context.models.served.get(snapshot.model)
    return ModelState(
        name=snapshot.model,
        stage=snapshot.stage,
        epoch=snapshot.epoch,
        routed_version=snapshot.version,
        routed_bundle=snapshot.bundle_sha,
        served_version=None if served is None else served.bundle.manifest.version,
        served_bundle=None if served is None else served.bundle.digest,
        ready=bool(context.models.all_served(snapshot.model)),
        reason=_why_not_current(context, snapshot),
    )


def _why_not_current(context: Context, snapshot: Snapshot) -> str | None:
    if context.models.is_current(snapshot):
        return None
    return context.models.refusals.get(snapshot.model, "its bundle is being loaded.")
