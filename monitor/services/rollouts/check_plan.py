"""Judge a plan beside what the installation knows: the model, the people, other rollouts."""

from monitor.domain import Role
from monitor.errors import NotFound, PlanInvalid
from monitor.rollouts.lint import lint
from monitor.rollouts.plan import LimitedStage, RolloutPlan
from monitor.rollouts.remark import Gravity, Remark
from monitor.rollouts.surroundings import ActiveRollout, Surroundings
from monitor.services.context import Context
from monitor.store.bundles import Bundles, BundleState, RegisteredBundle
from monitor.store.keys import Keys
from monitor.store.rollouts import Rollouts


def surroundings(
    context: Context, model: str, version: str | None = None, *, replacing: bool = False
) -> Surroundings:
    """Look up what a plan is judged beside.

    Parameters
    ----------
    context
        The process's singletons.
    model, version
        The candidate; without a version the newest trusted one.
    replacing
        Whether a rollout of the model that has not ended gives way to the new one.

    Raises
    ------
    NotFound
        There is no such model or version, or it is no longer trusted.
    """
    with context.engine.connect() as conn:
        bundle = _candidate(Bundles(conn).of(model), model, version)
        people = {
            key.person.name
            for key in Keys(conn).listed()
            if key.revoked_at is None and key.person.role.may(Role.OPERATOR)
        }
        running = Rollouts(conn).all(running=True)
    reference = context.references.open(bundle)
    manifest = reference.manifest
    return Surroundings(
        vocabulary=manifest.vocab,
        certified=manifest.certified,
        flag_rate=manifest.alpha,
        least_flag_rate=reference.flag_band[0],
        people=frozenset(people),
        active=tuple(
            ActiveRollout(name=each.title, model=each.model, units=_units(each.plan))
            for each in running
            if not (replacing and each.model == model)
        ),
    )


def check_plan(
    context: Context, plan: RolloutPlan, *, replacing: bool = False
) -> tuple[Remark, ...]:
    """Refuse a plan that cannot work here; give what somebody should know of one that can.

    Parameters
    ----------
    context
        The process's singletons.
    plan
        What shall start.
    replacing
        Whether a rollout of the model that has not ended gives way to it.

    Raises
    ------
    PlanInvalid
        It cannot work; every error is named at once.
    NotFound
        Its model or version is not there.
    """
    remarks = lint(plan, surroundings(context, plan.model, plan.version, replacing=replacing))
    faults = [remark for remark in remarks if remark.gravity is Gravity.ERROR]
    if faults:
        raise PlanInvalid(faults, f"the plan of {plan.name}")
    return remarks


def _candidate(
    bundles: list[RegisteredBundle], model: str, version: str | None
) -> RegisteredBundle:
    for bundle in bundles:
        if bundle.state is BundleState.TRUSTED and version in (None, bundle.version):
            return bundle
    known = ", ".join(each.version for each in bundles if each.state is BundleState.TRUSTED)
    way_out = (
        f"Trusted versions: {known}."
        if known
        else "`fieldwatch import` adds one, `fieldwatch status` lists those there are."
    )
    raise NotFound("trusted model", model if version is None else f"{model} {version}", way_out)


def _units(plan: RolloutPlan) -> frozenset[str]:
    return frozenset(
        unit
        for stage in plan.stages
        if isinstance(stage, LimitedStage)
        for unit in stage.scope.units
    )
