"""Trust an imported bundle, and route it."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from monitor.domain import Stage
from monitor.errors import RolloutRefused
from monitor.rollouts.snapshot import Snapshot
from monitor.store.audit import Audit
from monitor.store.bundles import Bundles
from monitor.store.rollouts import Rollouts
from monitor.store.routes import Routes
from reference_data.bundle import Bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What registering did."""

    new: bool
    """Whether the digest was not on the trust list before."""
    served: bool
    """Whether this version is the one routed now."""
    epoch: int
    replaced: str | None
    """The version that was routed before, when another one was."""


def register(
    engine: Engine, bundle: Bundle, *, serve: bool, actor: str, now: datetime
) -> Registration:
    """Put a bundle on the trust list; route it if it is the model's first, or on request.

    Parameters
    ----------
    engine
        The state store.
    bundle
        As `reference_data.bundle.load` verified it.
    serve
        Route it even though another version is routed.
    actor, now
        Recorded.

    Raises
    ------
    BundleUntrusted
        It was withdrawn before.
    EpochConflict
        Somebody routed another version at the same moment.
    RolloutRefused
        The route belongs to a rollout that has not ended.
    """
    manifest = bundle.manifest
    model = manifest.name
    with engine.begin() as conn:
        new = Bundles(conn).register(
            bundle.digest,
            model,
            manifest.version,
            str(bundle.path),
            manifest.certified,
            actor,
            now,
        )
        if new:
            detail = {"version": manifest.version, "learner_sha256": manifest.learner_sha256}
            Audit(conn).add(actor, "bundle.registered", f"bundle/{bundle.digest}", detail, now)
        routes = Routes(conn)
        current = routes.current().get(model)
        if current is not None and (current.bundle_sha == bundle.digest or not serve):
            served = current.bundle_sha == bundle.digest
            return Registration(new=new, served=served, epoch=current.epoch, replaced=None)
        # The route is the rollout's until it ends: else a version would act, or cease to, unseen.
        active = Rollouts(conn).active(model)
        if active is not None:
            raise RolloutRefused(
                active.title,
                f"leave the route of {model} to version {manifest.version}",
                f"it has not ended (it is {active.state.word.replace('_', ' ')})",
                "Bring the version in without --serve and start a rollout of it, or end this one "
                f"with `fieldwatch rollout abort {active.name}`.",
            )
        published = routes.publish(
            Snapshot(
                model=model,
                epoch=0,
                stage=Stage.OBSERVE,
                version=manifest.version,
                bundle_sha=bundle.digest,
                published_at=now,
                published_by=actor,
            ),
            0 if current is None else current.epoch,
        )
        route = {"version": manifest.version, "stage": Stage.OBSERVE, "epoch": published.epoch}
        Audit(conn).add(actor, "route.published", f"model/{model}", route, now)
    replaced = None if current is None else current.version
    return Registration(new=new, served=True, epoch=published.epoch, replaced=replaced)
