"""What a drill measured, and whether that lets alarms page: values and judgements, no more.

A certificate belongs to one bundle and one detector configuration. Change either, and nobody has
measured what now runs: it is void, and alarms open as tickets until the next drill.

A *quick* drill, the one at the end of an import, may page like a full one when it refuses nothing:
the false-alarm guarantee is a priori (slack), whatever the drill; what a drill adds is that nothing
contradicts it and that something is detected at all, and the quick one measures both. It measures
delays coarsely, and says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from monitor.stats.accuracy.paired import Effect
from monitor.stats.streams.replay import AlarmRate

FORMAT = 1
WITHIN = 1_000
"""Events within which a shift that costs accuracy must be seen at full share."""
SIGNIFICANT = 0.01
"""Below this p a shift costs accuracy, and a measurement contradicts the promise."""
UNLIKE_TIMES = 10.0
"""Traffic so many times faster or slower than drilled has other delays."""
SMALL_LOSS = 0.02
"""Loss of accuracy that names no weak spot however certain it is."""


class Depth(StrEnum):
    """How much a drill measured."""

    QUICK = "quick"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """How episodes arrive."""

    episodes_per_hour: float
    batch: int
    """Episodes the detectors read at once."""
    source: str
    """Where this is from, for people."""
    recorded: bool = False
    """Whether it was measured; else it is an assumption."""

    def unlike(self, other: "Traffic") -> bool:
        """Tell whether the delays measured for one cannot stand for the other.

        What a clock that counts time grants per episode goes with their rate. A tenth or ten times
        of it moves a threshold by 2.3 of usually 17 natural logarithms, and delays by as much of
        them. The promise on false alarms is the same for any traffic.
        """
        rates = sorted((self.episodes_per_hour, other.episodes_per_hour))
        return rates[1] > UNLIKE_TIMES * rates[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class NullReplay:
    """Held-out rows streamed as traffic, each once a replay, against others of them."""

    replays: int
    calibrating: int
    """Rows that calibrate in a replay; the rest is streamed."""
    alarming: int
    """Replays with an alarm."""
    alarms: AlarmRate
    p_value: float
    """Of so many alarming replays, if the promise holds."""
    promise: str
    flagged: int
    looked_at: int
    """Rows that calibrated nothing, judged by the bundle's own calibration."""
    flagged_low: float
    flagged_high: float
    flag_band: tuple[float, float]
    flag_p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """How long a shift goes unseen when it touches a share of the traffic."""

    share: float
    repeats: int
    seen: int
    """Repeats in which a stream crossed."""
    median: int | None
    """Events to the first crossing; ``None`` when more than half ended unseen."""
    ninetieth: int | None
    unseen_after: int | None
    """The shortest repeat that ended unseen, in events: the pool had no more rows, or `WITHIN`."""
    projected: int | None
    """Events the evidence needs at the rate it grew, at worst; only where repeats ended unseen."""
    streams: Mapping[str, int]
    """In how many repeats each stream was first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """One shift at one severity."""

    shift: str
    severity: int
    """0 where a shift has no degrees."""
    rows: int
    flagged: int
    flagged_low: float
    flagged_high: float
    accuracy: Effect | None
    """``None`` where no class is right."""
    delays: tuple[Delay, ...]

    @property
    def full(self) -> Delay | None:
        """The delay when all traffic is shifted."""
        return next((delay for delay in self.delays if delay.share == 1.0), None)

    @property
    def detected(self) -> bool:
        """Whether a stream sees it within `WITHIN` events at full share, more often than not."""
        full = self.full
        if full is None:
            return False
        if full.median is not None:
            return full.median <= WITHIN
        return full.projected is not None and full.projected <= WITHIN

    @property
    def costly(self) -> bool:
        """Whether it certainly costs accuracy, and not next to nothing."""
        effect = self.accuracy
        return (
            effect is not None and effect.p_value < SIGNIFICANT and effect.difference <= -SMALL_LOSS
        )

    @property
    def weak(self) -> bool:
        """Whether it costs accuracy and is not seen."""
        return self.costly and not self.detected

    @property
    def name(self) -> str:
        """The shift with its severity."""
        return f"{self.shift} {self.severity}" if self.severity else self.shift


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Everything one drill found."""

    format: int = FORMAT
    id: str
    model: str
    version: str
    bundle_sha: str
    configuration: str
    """Digest of the detectors; another digest voids it."""
    settings: Mapping[str, str]
    """What the digest is made of, for people: names what changed."""
    depth: Depth
    seed: int
    pictures: int
    within: int = WITHIN
    created_at: datetime
    by: str
    traffic: Traffic
    null: NullReplay | None
    injected: tuple[Injected, ...]
    weak_spots: tuple[str, ...]
    resolve_after: int
    """Quiet episodes after which an alarm resolves: the 90 % delay over all seen shifts."""
    refused: str | None
    """Why it certifies nothing; ``None`` when it lets alarms page."""
    notes: tuple[str, ...]

    @property
    def valid(self) -> bool:
        """Whether it lets alarms page, as long as nothing changes."""
        return self.refused is None


class State(StrEnum):
    """What a model's certificate is worth now."""

    VALID = "valid"
    VOID = "void"
    REFUSED = "refused"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Whether a model's alarms may page, and why not."""

    state: State
    reason: str
    certificate_id: str | None = None
    name: str | None = None
    """Depth and day of the drill."""
    resolve_after: int | None = None
    weak_spots: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What must be known of a certificate to judge it, without its measurements."""

    id: str
    bundle_sha: str
    configuration: str
    settings: Mapping[str, str]
    depth: Depth
    created_at: datetime
    refused: str | None
    resolve_after: int
    weak_spots: tuple[str, ...]


def refusal(
    *, certified: bool, certified_reason: str, null: NullReplay, injected: Sequence[Injected]
) -> str | None:
    """Say why a drill certifies nothing; ``None`` when it certifies.

    Parameters
    ----------
    certified, certified_reason
        Whether the bundle's calibration supports the detectors' guarantee, and why.
    """
    if not certified:
        return f"the reference is not certified: {certified_reason}"
    if null.p_value < SIGNIFICANT:
        return (
            f"{null.alarming} of {null.replays} replays of held-out rows alarmed, which the "
            f"promise allows with p = {null.p_value:.2g}: held-out rows are not exchangeable "
            "(near-copies, bursts, an ordered split?). Give episodes and import again"
        )
    if null.flag_p_value < SIGNIFICANT:
        return (
            f"{null.flagged} of {null.looked_at} held-out rows that calibrated nothing are "
            f"flagged, p = {null.flag_p_value:.2g}: the calibration does not speak for them. "
            "Give episodes and import again"
        )
    if not any(each.detected for each in injected):
        return (
            f"no shift at any severity was seen within {WITHIN:,} events: silence of these "
            "detectors means nothing. Hold out more rows, or name another --mid-layer"
        )
    return None


def judge(
    stamps: Sequence[Stamp], bundle_sha: str, configuration: str, settings: Mapping[str, str]
) -> Standing:
    """Say what a model's certificates are worth for what is routed and configured now.

    Parameters
    ----------
    stamps
        The model's certificates, newest first.
    configuration, settings
        Of the detectors that run now.
    """
    mine = [
        stamp
        for stamp in stamps
        if stamp.bundle_sha == bundle_sha and stamp.configuration == configuration
    ]
    if mine:
        stamp = mine[0]
        name = f"{stamp.depth} drill of {stamp.created_at:%Y-%m-%d}"
        if stamp.refused is not None:
            return Standing(
                state=State.REFUSED,
                reason=stamp.refused,
                certificate_id=stamp.id,
                name=name,
                weak_spots=stamp.weak_spots,
            )
        return Standing(
            state=State.VALID,
            reason=f"{name} found nothing against the promise",
            certificate_id=stamp.id,
            name=name,
            resolve_after=stamp.resolve_after,
            weak_spots=stamp.weak_spots,
        )
    of_bundle = [stamp for stamp in stamps if stamp.bundle_sha == bundle_sha]
    if of_bundle:
        changed = _changes(of_bundle[0].settings, settings)
        return Standing(
            state=State.VOID,
            reason=f"void: {changed} changed since the {of_bundle[0].depth} drill of "
            f"{of_bundle[0].created_at:%Y-%m-%d}",
            certificate_id=of_bundle[0].id,
        )
    if stamps:
        return Standing(
            state=State.VOID,
            reason="void: another bundle is served than the one that was drilled",
            certificate_id=stamps[0].id,
        )
    return Standing(state=State.NONE, reason="no drill has been run")


def _changes(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return ", ".join(names) if names else "the detectors' construction"
