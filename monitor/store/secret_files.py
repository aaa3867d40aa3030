"""Values that lie in files of their own, as container engines hand out secrets.

``FIELDWATCH_STORE__DATABASE_PASSWORD_FILE=/run/secrets/database_password`` sets the key
``database_password`` of the table ``[store]`` to what that file holds. Any key can be given so;
what is secret then shows in no environment and no listing of processes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SUFFIX = "_FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class FromFiles:
    """What the files of some variables hold."""

    values: Mapping[str, str]
    """By the name of the variable each stands for."""
    faults: tuple[str, ...]
    """A sentence for each file that cannot be used."""


def names_a_file(variable: str) -> bool:
    """Tell whether this variable names a file instead of giving a value.

    Parameters
    ----------
    variable
        Its name, of a table's key, in capitals or not.
    """
    return "__" in variable and variable.upper().endswith(SUFFIX)


def read_files(variables: Mapping[str, str]) -> FromFiles:
    """Read the file of each variable that names one; white space around the value is left out.

    Parameters
    ----------
    variables
        Those of Fieldwatch, by name; others than the ones that name a file are not looked at.
    """
    values: dict[str, str] = {}
    faults = []
    given = {name.upper() for name in variables}
    for variable, file in variables.items():
        if not names_a_file(variable):
            continue
        meant = variable[: -len(SUFFIX)]
        if meant.upper() in given:
            faults.append(f"{variable}: {meant} is set too; leave one of them out")
            continue
        try:
            values[meant] = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            cause = error.strerror if isinstance(error, OSError) else "it is not text"
            faults.append(f"{variable}: the file {file} cannot be read: {cause}")
            continue
        if not values[meant]:
            faults.append(f"{variable}: the file {file} is empty")
    return FromFiles(values=values, faults=tuple(faults))
