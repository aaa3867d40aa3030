"""Which units, and which episodes, belong to whom: the same answer every time, on every gateway.

A *unit* falls into one of `BUCKETS` buckets by MurmurHash3 (x86, 32 bits, seed 0, unsigned) of
``{salt}:{unit}``. It is the model's while its bucket is below the exposed ones, so a growing share
only ever adds units. The salt is the rollout's: with one salt for all, the same unlucky units
would come first everywhere.

The human hold-out draws *episodes* instead, by a hash of their own: every unit then contributes to
it, and a camera of which nobody ever checks anything does not exist.
"""

import mmh3

from monitor.rollouts.snapshot import BUCKETS

_ALL = 2.0**32


def bucket_of(salt: str, unit: str) -> int:
    """Return the bucket of a unit, from 0 to `BUCKETS` - 1.

    >>> bucket_of("bears-v7", "cam-01")
    55194
    """
    return mmh3.hash(f"{salt}:{unit}", 0, signed=False) % BUCKETS


def is_held_out(salt: str, episode_id: str, share: float) -> bool:
    """Tell whether an episode is drawn, for good, for the human hold-out.

    Parameters
    ----------
    salt
        Of the rollout.
    episode_id
        All events of an episode share the answer.
    share
        Of all episodes, from 0 to 1. A larger share holds out what a smaller one did, and more;
        one that is no number holds out everything.
    """
    drawn = mmh3.hash(f"{salt}:hold-out:{episode_id}", 0, signed=False) / _ALL
    return not drawn >= share
