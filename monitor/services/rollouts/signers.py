"""Whose name an order carries, and what that name is worth.

"Not the author" can only be judged of people. Whoever can write the state store may hold, roll back
and kill without a key, for that only makes things safer. Starting, approving, forcing and
releasing a kill ask for a key of one's own: in `FIELDWATCH_KEY` on the command line, never the
installation's shared ``admin.key``, and no option names anybody else.
"""

import os

from monitor.domain import Person, Role
from monitor.errors import AccessDenied
from monitor.rollouts.signer import Signer
from monitor.rollouts.state import identity
from monitor.services.client_key import COMMAND_LINE, VARIABLE
from monitor.services.context import Context
from monitor.store.bootstrap import FIRST_PERSON
from monitor.store.engine import reading
from monitor.store.keys import Keys


def signer_of(person: Person) -> Signer:
    """Make a signer of the person whose key a request carried."""
    shared = identity(person.name) in {identity(FIRST_PERSON), identity(COMMAND_LINE)}
    return Signer(name=person.name, role=person.role, personal=not shared)


def signer_here(context: Context) -> Signer:
    """Make a signer of the key in ``FIELDWATCH_KEY``; without one, of the command line itself.

    Raises
    ------
    AccessDenied
        If there is a key and it is not valid.
    """
    token = os.environ.get(VARIABLE, "").strip()
    if not token:
        return Signer(name=COMMAND_LINE, role=Role.ADMIN, personal=False)
    with reading(context.engine) as conn:
        person = Keys(conn).all().verify(token)
    if person is None:
        raise AccessDenied(Role.OPERATOR, None)
    return signer_of(person)
