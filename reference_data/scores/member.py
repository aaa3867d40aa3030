"""The scores that may take part in the semantic score, by name."""

from collections.abc import Iterable
from enum import StrEnum


class Member(StrEnum):
    """A score that may take part in the semantic score."""

    MAHA = "maha++"
    RMDS = "rmds++"
    GEN = "gen"
    FDBD = "fdbd"
    KNN = "knn"
    VIM = "vim"
    NCI = "nci"
    SHE = "she"
    MSP = "msp"
    MAX_LOGIT = "maxlogit"
    ENERGY = "energy"
    REACT = "react"
    SCALE = "scale"


DEFAULT = (Member.MAHA, Member.RMDS, Member.FDBD, Member.VIM)
"""Two that measure distance in all directions, one in the classes' own, one from their borders."""


class MemberUnknown(ValueError):
    """A name is none of a member's."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no score {name!r}; choose from {', '.join(Member)}")


def members_named(names: Iterable[str]) -> tuple[Member, ...]:
    """Read members by name, each once, in their usual order.

    Raises
    ------
    MemberUnknown
        If a name is none of theirs, or none is given.

    Examples
    --------
    >>> members_named(["knn", "maha++"])
    (<Member.MAHA: 'maha++'>, <Member.KNN: 'knn'>)
    """
    wanted = [name.strip().lower() for name in names]
    for name in wanted or [""]:
        if name not in set(Member):
            raise MemberUnknown(name)
    return tuple(member for member in Member if member in wanted)
