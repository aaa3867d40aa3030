"""Stored JSON documents that carry the format they were written in."""

from typing import TypeVar

import msgspec

from monitor.errors import DocumentTooNew, DocumentUnreadable

T = TypeVar("T")


class _Head(msgspec.Struct, frozen=True):
    """The part that every format keeps."""

    format: int


def write(document: msgspec.Struct) -> str:
    """Write a document as JSON; its type has a field ``format``."""
    return msgspec.json.encode(document).decode()


def read(document: str | bytes, kind: type[T], what: str, *, supported: int) -> T:
    """Read a document written by this or an older Fieldwatch.

    Parameters
    ----------
    document
        JSON.
    kind
        What it shall be read as.
    what
        What it is, for the message when it cannot be read.
    supported
        The newest format this program knows.

    Raises
    ------
    DocumentTooNew
        A newer Fieldwatch wrote it; nothing of it is guessed at.
    DocumentUnreadable
        It is not what it should be.
    """
    try:
        found = msgspec.json.decode(document, type=_Head).format
        if found > supported:
            raise DocumentTooNew(what, found, supported)
        return msgspec.json.decode(document, type=kind)
    except msgspec.DecodeError as error:
        raise DocumentUnreadable(what, str(error)) from error
