"""Column types and statements that mean the same on SQLite and PostgreSQL."""

from datetime import UTC, datetime

from sqlalchemy import Connection, DateTime, Dialect, Table, TypeDecorator
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.types import TypeEngine
from typing_extensions import override

from monitor.errors import TimeNotAware


class _TimeRefused(TimeNotAware, DontWrapMixin):
    """`TimeNotAware`, marked so that SQLAlchemy lets it pass as it is."""


class UTCDateTime(TypeDecorator[datetime]):
    """An instant, microseconds exact.

    SQLite keeps no time zone, so what goes in must have one and what comes out always has UTC.
    """

    impl = DateTime
    cache_ok = True

    @override
    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime]:
        return dialect.type_descriptor(DateTime(timezone=dialect.name != "sqlite"))

    @override
    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.utcoffset() is None:
            raise _TimeRefused(value)
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    @override
    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def insert(conn: Connection, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """Begin an insert that can say what to do on conflict, in the connection's dialect.

    The result's `rowcount` tells whether the row went in.
    """
    make = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
    return make(table).execution_options(preserve_rowcount=True)
