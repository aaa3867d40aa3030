"""Show how a rollout's shadow trial stands."""

from monitor.errors import NotFound
from monitor.rollouts.rollout import Rollout
from monitor.services.context import Context
from monitor.services.trial.cases import read_cases
from monitor.services.trial.report import TrialReport, report
from monitor.store.bundles import Bundles
from monitor.store.engine import reading
from monitor.store.rollouts import Rollouts
from reference_data.errors import BundleError


def show_trial(context: Context, name: str, *, attempt: int | None = None) -> TrialReport:
    """Sum up the trial of a rollout's last attempt, or of an earlier one.

    Raises
    ------
    NotFound
        If there is no such rollout or attempt.
    """
    rollout = find_attempt(context, name, attempt)
    return report(rollout.plan, read_cases(context, rollout), vocabulary_of(context, rollout))


def find_attempt(context: Context, name: str, attempt: int | None) -> Rollout:
    """Find an attempt of a rollout; the last one when none is named.

    Raises
    ------
    NotFound
        If there is none.
    """
    with reading(context.engine) as conn:
        attempts = Rollouts(conn).attempts(name)
    if not attempts:
        raise NotFound("rollout", name, "`fieldwatch rollout list` shows them.")
    if attempt is None:
        return attempts[-1]
    for each in attempts:
        if each.attempt == attempt:
            return each
    raise NotFound("attempt", f"{attempt} of {name}", f"It has {len(attempts)} so far.")


def vocabulary_of(context: Context, rollout: Rollout) -> tuple[str, ...]:
    """Read the candidate's classes; empty when its bundle is gone, and cases then tell them."""
    with reading(context.engine) as conn:
        registered = Bundles(conn).get(rollout.bundle_sha)
    if registered is None:
        return ()
    try:
        return tuple(context.references.open(registered).manifest.vocab)
    except BundleError:
        return ()
