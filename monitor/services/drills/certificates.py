"""Whether a model's alarms may page: its certificate, held against what runs now."""

from collections.abc import Sequence
from dataclasses import dataclass

from monitor.certificate import Certificate, Stamp, Standing, judge
from monitor.errors import NotFound
from monitor.services.context import Context
from monitor.services.kill_switch import unserved
from monitor.services.streams.baseline import Baseline
from monitor.services.streams.opening import detector_configuration, watchlist
from monitor.settings import DetectorOptions
from monitor.store.bundles import Bundles
from monitor.store.certificates import Certificates
from monitor.store.engine import reading
from monitor.store.routes import Routes


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCertificate:
    """The newest certificate of a version, and what it is worth now."""

    model: str
    version: str
    standing: Standing
    certificate: Certificate | None
    """The one the standing speaks of, in full."""


def settings_in_words(
    options: DetectorOptions, baseline: Baseline, episode_gap_s: float
) -> dict[str, str]:
    """Name what a detector configuration is made of, so that a change of it can be named."""
    unit = "days" if options.clock == "seconds" else "episodes"
    length = options.false_alarm_days if unit == "days" else options.false_alarm_episodes
    return {
        "the false-alarm budget": f"{length:g} {unit}",
        "delta": f"{options.delta:g}",
        "the gap between episodes": f"{episode_gap_s:g} s",
        "the frames of an episode": f"{options.episode_frames}",
        "the weights": ", ".join(f"{name} {w:g}" for name, w in sorted(options.weights.items())),
        "the reserve for segments": f"{options.reserve:g}",
        "the streams watched": ", ".join(key.title for key in watchlist(baseline, options)),
    }


def standing(
    stamps: Sequence[Stamp],
    bundle_sha: str,
    options: DetectorOptions,
    baseline: Baseline,
    episode_gap_s: float,
) -> Standing:
    """Hold a model's certificates against what is routed and configured now: pure.

    Parameters
    ----------
    stamps
        Newest first.
    """
    if not any(stamp.bundle_sha == bundle_sha for stamp in stamps):
        return judge(stamps, bundle_sha, "", {})
    return judge(
        stamps,
        bundle_sha,
        detector_configuration(options, baseline, episode_gap_s=episode_gap_s),
        settings_in_words(options, baseline, episode_gap_s),
    )


def look_up(context: Context, model: str, bundle_sha: str | None = None) -> ModelCertificate:
    """Read a version's certificate.

    Parameters
    ----------
    bundle_sha
        Digest of its bundle; the routed one when absent.

    Raises
    ------
    NotFound
        If no such model is served.
    """
    with reading(context.engine) as conn:
        routes = Routes(conn).current()
        if model not in routes:
            raise NotFound("model", model, unserved(sorted(routes)))
        snapshot = routes[model]
        registered = Bundles(conn).trusted(bundle_sha or snapshot.bundle_sha)
        stamps = Certificates(conn).stamps(model)
        found = standing(
            stamps,
            registered.sha,
            context.settings.monitor.detectors,
            context.references.open(registered).baseline,
            snapshot.episode_gap_s,
        )
        named = found.certificate_id
        certificate = None if named is None else Certificates(conn).get(named)
    return ModelCertificate(
        model=model, version=registered.version, standing=found, certificate=certificate
    )
