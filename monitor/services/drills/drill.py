"""Drill a bundle: replay the null, inject shifts, and write down what its alarms are worth.

Load: the bundle's held-out rows and its shifted ones, or pictures to shift now. Decide: replay,
inject, refuse or certify. Save: one certificate and its entry in the audit.
"""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from uuid6 import uuid7

from monitor.certificate import Certificate, Depth, Injected, refusal
from monitor.errors import DrillRefused
from monitor.policy import MIN_RESOLVE_AFTER
from monitor.services.context import Context
from monitor.services.drills import null_replay
from monitor.services.drills.certificates import settings_in_words
from monitor.services.drills.ground import Ground, survey
from monitor.services.drills.injection import prepare
from monitor.services.drills.null_replay import Grants
from monitor.services.drills.passages import Judge
from monitor.services.drills.request import DrillRequest, Progress
from monitor.services.drills.shifts import inject
from monitor.services.drills.traffic import arrivals
from monitor.services.streams.opening import detector_configuration
from monitor.store.audit import Audit
from monitor.store.certificates import Certificates
from reference_data.bundle import Bundle, Manifest
from reference_data.guarantee import say_rows

QUICK_REPEATS, FULL_REPEATS = 10, 20
QUICK_REPLAYS, FULL_REPLAYS = 20, 100


def drill(
    context: Context, request: DrillRequest, progress: Progress, *, by: str, now: datetime
) -> Certificate:
    """Drill a bundle and save its certificate.

    Raises
    ------
    NotFound
        If there is no such model or version.
    DrillRefused
        If the bundle holds nothing that could be drilled.
    """
    ground = survey(context, request, progress)
    certificate = _decide(context, ground, request, progress, by=by, now=now)
    with context.engine.begin() as conn:
        Certificates(conn).add(certificate)
        detail = {
            "id": certificate.id,
            "depth": certificate.depth,
            "refused": certificate.refused,
            "weak_spots": list(certificate.weak_spots),
        }
        Audit(conn).add(by, "bundle.drilled", f"bundle/{certificate.bundle_sha}", detail, now)
    return certificate


def certify(
    context: Context, bundle: Bundle, progress: Progress, *, seed: int, by: str, now: datetime
) -> Certificate | None:
    """Give a bundle just made its quick drill; None when it holds nothing to drill.

    It is made and registered all the same: its alarms open as tickets.
    """
    manifest = bundle.manifest
    request = DrillRequest(model=manifest.name, version=manifest.version, seed=seed)
    try:
        return drill(context, request, progress, by=by, now=now)
    except DrillRefused:
        return None


def _decide(
    context: Context,
    ground: Ground,
    request: DrillRequest,
    progress: Progress,
    *,
    by: str,
    now: datetime,
) -> Certificate:
    manifest, baseline = ground.bundle.manifest, ground.reference.baseline
    options = context.settings.monitor.detectors
    full = request.depth is Depth.FULL
    rng = np.random.default_rng([request.seed, 11])
    traffic = arrivals(context, request.model, now)
    grants = Grants.of(options, traffic)
    calibrating = ground.held.of_role("calibrate")
    judge = Judge.of(ground.bundle)
    replays = FULL_REPLAYS if full else QUICK_REPLAYS
    with progress.step("replaying healthy rows", replays) as advance:
        null = null_replay.replay(
            ground.held.take(ground.independent),
            baseline,
            ground.holdings,
            options,
            grants,
            alpha=manifest.alpha,
            band=ground.reference.flag_band,
            own=judge,
            replays=replays,
            rng=rng,
            advance=advance,
        )
    streams = ground.holdings.open(request.model, baseline)
    injection = prepare(
        streams, calibrating, judge, grants, FULL_REPEATS if full else QUICK_REPEATS, rng
    )
    injected = inject(ground, injection, judge, request, progress)
    weak = tuple(each.name for each in injected if each.weak)
    return Certificate(
        id=str(uuid7()),
        model=request.model,
        version=manifest.version,
        bundle_sha=ground.bundle.digest,
        configuration=detector_configuration(options, baseline, episode_gap_s=ground.episode_gap_s),
        settings=settings_in_words(options, baseline, ground.episode_gap_s),
        depth=request.depth,
        seed=request.seed,
        pictures=ground.pictures,
        created_at=now,
        by=by,
        traffic=traffic,
        null=null,
        injected=injected,
        weak_spots=weak,
        resolve_after=_resolve_after(injected),
        refused=refusal(
            certified=ground.reference.certified and ground.registered.certified,
            certified_reason=manifest.certified_reason,
            null=null,
            injected=injected,
        ),
        notes=(*ground.notes, *_worth(manifest)),
    )


def _worth(manifest: Manifest) -> tuple[str, ...]:
    """Say what calibration rows are worth that come in bursts; a replay takes one of each."""
    size = manifest.calibration
    if size is None:
        return ()
    return (f"the detectors compare with {say_rows(int(size.smallest), size)}",)


def _resolve_after(injected: Sequence[Injected]) -> int:
    """Take the 90 % delay over the shifts that are seen at full share, at least the least there is.

    While such a change goes on, an alarm is refreshed within so many episodes nine times in ten.
    """
    seen = [
        each.full.ninetieth
        for each in injected
        if each.full is not None and each.full.ninetieth is not None
    ]
    if not seen:
        return MIN_RESOLVE_AFTER
    return max(MIN_RESOLVE_AFTER, int(np.quantile(seen, 0.9, method="higher")))
