"""Takes a multipart upload apart: one file, and the fields we know."""

import re
from dataclasses import dataclass, field

import orjson
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from inference.errors import Cause, Refused

FIELDS = ("file", "model", "unit", "case_id", "segment")
"""What an upload may hold; anything else is refused by name."""

MAX_TEXT = 200
"""Most characters of a model, a unit or a case, and of a segment's value."""
MAX_SEGMENTS = 16
FORM_BYTES = 64 * 1024
"""Room for everything but the file."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a request says its inputs are about."""

    unit: str | None = None
    case_id: str | None = None
    segment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One image with what was said about it."""

    file: bytes
    model: str | None
    subject: Subject


def parse_upload(content_type: str | None, body: bytes) -> Upload:
    """Take a ``multipart/form-data`` body apart.

    Raises
    ------
    Refused
        It is no such body, holds a field we do not know, or a value we do not take.
    """
    parts = _split(_boundary(content_type), body)
    if "file" not in parts:
        raise Refused(Cause.MISSING_FIELD, "the field 'file' with the image is missing")
    texts = {name: _text(name, parts[name]) for name in parts if name != "file"}
    return Upload(
        file=parts["file"],
        model=texts.get("model") or None,
        subject=Subject(
            unit=label("unit", texts.get("unit")),
            case_id=label("case_id", texts.get("case_id")),
            segment=segment_from(_json_object(texts.get("segment"))),
        ),
    )


def label(name: str, value: object) -> str | None:
    """Check a unit or a case id; an empty one counts as none.

    Raises
    ------
    Refused
        It is no text, too long, or holds control characters.
    """
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise Refused(Cause.BAD_VALUE, f"{name} must be text, not {type(value).__name__}")
    if len(value) > MAX_TEXT:
        raise Refused(
            Cause.BAD_VALUE, f"{name} has {len(value)} characters; at most {MAX_TEXT} are taken"
        )
    if _CONTROL.search(value):
        raise Refused(Cause.BAD_VALUE, f"{name} holds control characters; send plain text")
    return value


def segment_from(value: object) -> dict[str, str]:
    """Check what to slice by: an object of texts.

    Raises
    ------
    Refused
        It is something else, or has too many or too long entries.
    """
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > MAX_SEGMENTS:
        raise Refused(
            Cause.BAD_VALUE, f"segment must be a JSON object of at most {MAX_SEGMENTS} texts"
        )
    checked = {}
    for key, text in value.items():
        name = label("a name in segment", key)
        if name is None or not isinstance(text, str):
            raise Refused(Cause.BAD_VALUE, "segment must map names to texts, such as {'site': 'A'}")
        checked[name] = label(f"segment {name!r}", text) or ""
    return checked


def _boundary(content_type: str | None) -> bytes:
    kind, options = parse_options_header(content_type or "")
    if kind.lower() != b"multipart/form-data":
        found = "nothing" if not content_type else shown(content_type)
        raise Refused(
            Cause.UNSUPPORTED_MEDIA_TYPE,
            f"send the image as multipart/form-data with a field 'file'; Content-Type says {found}",
        )
    boundary = options.get(b"boundary", b"")
    if not boundary or len(boundary) > MAX_TEXT:
        raise Refused(Cause.MALFORMED, "Content-Type names no usable multipart boundary")
    return boundary


class _Parts:
    """Collects the parts a `MultipartParser` reports."""

    def __init__(self) -> None:
        self.found: dict[str, bytes] = {}
        self.complete = False
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""
        self._data: list[bytes] = []

    def on_part_begin(self) -> None:
        self._headers, self._data = {}, []

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._data.append(data[start:end])

    def on_part_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = _text("the name of a field", options.get(b"name", b""))
        if not name:
            raise Refused(Cause.MALFORMED, "a part of the upload has no name")
        # At once, not at the end: a body can hold a hundred thousand fields.
        if name not in FIELDS:
            raise Refused(
                Cause.UNKNOWN_FIELD,
                f"there is no field {shown(name)}; the fields are {', '.join(FIELDS)}",
            )
        if name in self.found:
            raise Refused(Cause.MALFORMED, f"the field {shown(name)} was sent twice")
        self.found[name] = b"".join(self._data)

    def on_end(self) -> None:
        self.complete = True


def _split(boundary: bytes, body: bytes) -> dict[str, bytes]:
    parts = _Parts()
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": parts.on_part_begin,
            "on_header_field": parts.on_header_field,
            "on_header_value": parts.on_header_value,
            "on_header_end": parts.on_header_end,
            "on_part_data": parts.on_part_data,
            "on_part_end": parts.on_part_end,
            "on_end": parts.on_end,
        },
    )
    try:
        parser.write(body)
        parser.finalize()
    except MultipartParseError as error:
        raise Refused(Cause.MALFORMED, f"the multipart body cannot be read: {error}") from error
    if not parts.complete:
        raise Refused(Cause.MALFORMED, "the multipart body ends before its last boundary")
    return parts.found


def _text(name: str, value: bytes) -> str:
    if len(value) > FORM_BYTES:
        raise Refused(Cause.BAD_VALUE, f"{name} is longer than {FORM_BYTES:,} bytes")
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise Refused(Cause.BAD_VALUE, f"{name} is not UTF-8 text") from error


def _json_object(text: str | None) -> object:
    if not text:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Refused(Cause.BAD_VALUE, f"segment is not JSON: {error}") from error


def shown(text: str) -> str:
    """Quote a client's text in an answer, shortened and with control characters escaped."""
    return ascii(text if len(text) <= 60 else f"{text[:60]}…")
