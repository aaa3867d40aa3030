"""What a command says when it fails: one line for people, or one JSON object for programs."""

import json
import sys

import typer

USAGE = "usage"
"""Code of a command line that is not understood."""
UNEXPECTED = "unexpected"
"""Code of a fault nobody foresaw."""


def explain(fault: Exception, *, as_json: bool) -> int:
    """Write a fault to stderr, so that stdout holds results only; return the exit code."""
    code, message, ending = _read(fault)
    if as_json:
        line = json.dumps({"error": code, "message": message}, ensure_ascii=False)
    else:
        line = f"fieldwatch: {message}"
    print(line, file=sys.stderr)  # noqa: T201
    return ending


def _read(fault: Exception) -> tuple[str, str, int]:
    """Give a fault's code, its words and the exit code it ends with."""
    if isinstance(fault, typer.TyperException):
        return USAGE, fault.format_message(), fault.exit_code
    from monitor.errors import FieldwatchError, OptionInvalid, SettingsInvalid, code_of
    from reference_data.errors import ReferenceDataError

    if isinstance(fault, FieldwatchError | ReferenceDataError):
        wrong_line = isinstance(fault, SettingsInvalid | OptionInvalid)
        return code_of(fault), str(fault), 2 if wrong_line else 1
    where = "Run `fieldwatch --debug …` to see where it came from."
    return UNEXPECTED, f"unexpected {type(fault).__name__}: {fault}. {where}", 1
