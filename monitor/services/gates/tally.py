"""What the gates of one epoch have counted of the events, as a value that is stored.

Counts add up, so that an event is read once and late ones count when they come. Tallies of the
epochs of one step are added together when they are looked at.
"""

import zlib
from collections.abc import Iterable
from datetime import datetime

import msgspec
import numpy as np
import numpy.typing as npt

from monitor import documents
from monitor.rollouts.snapshot import BUCKETS

FORMAT = 1
REMEMBERED = 2_000
"""Episodes acted on last that are remembered, so that their later frames count no second time."""

Flags = npt.NDArray[np.bool_]


class ArmTally(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted of one arm."""

    episodes: int = 0
    flagged: int = 0
    """Of them, those whose first event is flagged; the candidate's alone."""
    scored: int = 0
    """Of them, those the candidate has scored."""
    by_human: int = 0
    """Of them, those whose first event was left to a human."""
    acted: int = 0
    """Of them, those a model acted on."""
    buckets: bytes = b""
    """Buckets of the units seen, one bit each, compressed; empty for none."""

    def __add__(self, other: "ArmTally") -> "ArmTally":
        """Add what another epoch counted."""
        return ArmTally(
            episodes=self.episodes + other.episodes,
            flagged=self.flagged + other.flagged,
            scored=self.scored + other.scored,
            by_human=self.by_human + other.by_human,
            acted=self.acted + other.acted,
            buckets=pack_buckets(unpack_buckets(self.buckets) | unpack_buckets(other.buckets)),
        )

    @property
    def units(self) -> int:
        """How many units were seen; two in one bucket count as one, in either arm alike."""
        return int(unpack_buckets(self.buckets).sum())


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted of one epoch."""

    format: int = FORMAT
    recipe: str
    """Digest of what is counted; with another one counting begins again."""
    cursors: dict[str, int] = {}
    """The last `seq` read of each writer."""
    events: int = 0
    answered: int = 0
    """Requests the candidate answered."""
    failed: int = 0
    """Requests it did not, through no fault of theirs."""
    slow: dict[str, int] = {}
    """Answers slower than each limit that a gate names."""
    without_unit: int = 0
    """Episodes nothing could be assigned to."""
    arms: dict[str, ArmTally] = {}
    acted_last: tuple[str, ...] = ()
    """The episodes acted on last, `REMEMBERED` at most."""
    drift: dict[str, str] = {}
    """State of each stream, `stream_drift.DriftState` as JSON."""
    drift_episodes: int = 0
    granted_until: datetime | None = None

    def arm(self, *names: str) -> ArmTally:
        """Add up arms."""
        total = ArmTally()
        for name in names:
            total += self.arms.get(name, ArmTally())
        return total

    def to_json(self) -> str:
        """Write the tally as JSON."""
        return documents.write(self)

    @classmethod
    def from_json(cls, document: str, rollout: str) -> "Tally":
        """Read a tally written by this or an older Fieldwatch.

        Raises
        ------
        DocumentTooNew
            A newer Fieldwatch wrote it.
        DocumentUnreadable
            It is none.
        """
        what = f"what the gates of {rollout} have counted"
        return documents.read(document, cls, what, supported=FORMAT)


def add_up(tallies: Iterable[Tally]) -> Tally:
    """Add the epochs of a step; of the drift each keeps its own."""
    total = Tally(recipe="")
    for each in tallies:
        names = {*total.arms, *each.arms}
        total = Tally(
            recipe=each.recipe,
            events=total.events + each.events,
            answered=total.answered + each.answered,
            failed=total.failed + each.failed,
            slow={key: total.slow.get(key, 0) + count for key, count in each.slow.items()},
            without_unit=total.without_unit + each.without_unit,
            arms={name: total.arm(name) + each.arm(name) for name in sorted(names)},
            drift_episodes=total.drift_episodes + each.drift_episodes,
        )
    return total


def pack_buckets(seen: Flags) -> bytes:
    """Write which buckets were seen."""
    return zlib.compress(np.packbits(seen).tobytes()) if seen.any() else b""


def unpack_buckets(packed: bytes) -> Flags:
    """Read which buckets were seen, [bucket]."""
    if not packed:
        return np.zeros(BUCKETS, dtype=bool)
    bits = np.unpackbits(np.frombuffer(zlib.decompress(packed), dtype=np.uint8), count=BUCKETS)
    return bits.astype(bool)
