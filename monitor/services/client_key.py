"""Find the key a command-line client shows."""

import os

from monitor.errors import NoKey
from monitor.store.settings import StoreSettings

VARIABLE = "FIELDWATCH_KEY"
COMMAND_LINE = "command line"
"""Recorded as the actor: whoever can write the state store directly."""


def find_key(settings: StoreSettings) -> str:
    """Read the key from ``FIELDWATCH_KEY``, else from the installation's ``admin.key``.

    Raises
    ------
    NoKey
        If there is neither.
    """
    key = os.environ.get(VARIABLE, "").strip()
    if not key and settings.key_file.is_file():
        key = settings.key_file.read_text().strip()
    if not key:
        raise NoKey(settings.key_file)
    return key
