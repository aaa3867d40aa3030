"""In whose name an order is given."""

from dataclasses import dataclass

from monitor.domain import Role
from monitor.errors import AccessDenied, PersonNeeded


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Who gives an order, and what the name is worth."""

    name: str
    role: Role
    personal: bool
    """Whether a key of their own showed who it is. The command line of the installation and the
    shared key of the first start are nobody in particular."""

    def check_role(self, needed: Role = Role.OPERATOR) -> None:
        """Make sure the role suffices.

        Raises
        ------
        AccessDenied
            If it does not.
        """
        if not self.role.may(needed):
            raise AccessDenied(needed, self.role)

    def check_person(self, what: str) -> None:
        """Make sure that it is a person who may do this.

        Raises
        ------
        AccessDenied
            If the role does not suffice.
        PersonNeeded
            If no key of their own showed who it is.
        """
        self.check_role()
        if not self.personal:
            raise PersonNeeded(what, f"“{self.name}”", "is nobody in particular")
