"""Which key a request carries."""

import base64
from collections.abc import Mapping


def parse_authorization(headers: Mapping[str, str]) -> str | None:
    """Find the key in a request's headers.

    Accepted are ``Authorization: Bearer KEY``, ``X-API-Key: KEY`` and HTTP Basic with the key as
    the password and any user name, so that a browser can open the pages.

    Parameters
    ----------
    headers
        Looked up by lower-case names: a case-blind mapping, or one with lower-case keys.
    """
    scheme, _, value = headers.get("authorization", "").strip().partition(" ")
    value = value.strip()
    match scheme.lower():
        case "bearer":
            return value or None
        case "basic":
            return _basic_password(value)
        case "":
            return headers.get("x-api-key", "").strip() or None
        case _:
            return None


def _basic_password(value: str) -> str | None:
    try:
        _, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except ValueError:  # not Base64, or not text
        return None
    return password or None
