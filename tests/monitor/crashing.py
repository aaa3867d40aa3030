"""Kill a process between any two of its writes, without a process."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import DBAPICursor


class Crash(BaseException):
    """The process is gone: nothing may catch this."""


@contextmanager
def crash_at(engine: Engine, step: int) -> Iterator[list[str]]:
    """Kill the monitor right before its `step`-th statement that writes, or its commit."""
    steps: list[str] = []

    def count(what: str) -> None:
        steps.append(what)
        if len(steps) == step:
            raise Crash(what)

    def on_execute(_conn: object, _cursor: DBAPICursor, statement: str, *_: object) -> None:
        if statement.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")):
            count(statement.split("(")[0].strip())

    def on_commit(_: object) -> None:
        count("COMMIT")

    event.listen(engine, "before_cursor_execute", on_execute)
    event.listen(engine, "commit", on_commit)
    try:
        yield steps
    finally:
        event.remove(engine, "before_cursor_execute", on_execute)
        event.remove(engine, "commit", on_commit)
