"""What can go wrong in the gateway.

::

    InferenceError
    ├── SpoolInUse         another process writes to this spool
    ├── SpoolUnusable      the folder of the spool cannot be made or written
    ├── Refused            the request cannot be served as it was sent; carries a `Cause`
    ├── Overloaded         too much is waiting already; says when to come back
    ├── ModelNotReady      the model is known, and cannot be served now
    └── ScoringFailed      this input made the model fail; carries a `Cause`

None of them knows HTTP: `inference.answers` holds that table.
"""

from enum import StrEnum
from pathlib import Path


class Cause(StrEnum):
    """Why a request was refused or failed: the `cause` of records and metrics, the code of answers.

    The first group repeats `reference_data.errors.RejectionCause`.
    """

    NOT_AN_IMAGE = "not_an_image"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    TOO_MANY_BYTES = "too_many_bytes"
    TOO_MANY_PIXELS = "too_many_pixels"
    ZERO_SIZE = "zero_size"
    ANIMATED = "animated"
    UNTRAINED_MODE = "untrained_mode"
    WRONG_SHAPE = "wrong_shape"
    WRONG_DTYPE = "wrong_dtype"
    NOT_FINITE = "not_finite"
    UNKNOWN_MODEL = "unknown_model"
    UNKNOWN_FIELD = "unknown_field"
    MALFORMED = "malformed"

    SEALED = "sealed"
    MISSING_FIELD = "missing_field"
    BAD_VALUE = "bad_value"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    TOO_SLOW = "too_slow"
    DISCONNECTED = "disconnected"
    NOT_READY = "not_ready"
    SCORING_FAILED = "scoring_failed"
    INTERNAL = "internal"


class InferenceError(Exception):
    """Anything the gateway raises on purpose."""


class SpoolInUse(InferenceError):
    """Another process holds the spool folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"the spool {folder} is in use by another gateway. Stop that gateway, or give this one "
            "an id of its own (gateway.id, or FIELDWATCH_GATEWAY__ID)."
        )


class SpoolUnusable(InferenceError):
    """The folder of the spool cannot be made or written."""

    def __init__(self, folder: Path, cause: str) -> None:
        super().__init__(
            f"the spool {folder} cannot be written: {cause}. Let this user write there, or name "
            "another home with store.home or FIELDWATCH_HOME."
        )


class Refused(InferenceError):
    """The request cannot be served as it was sent."""

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class Overloaded(InferenceError):
    """More is waiting than can be answered in good time."""

    def __init__(self, waiting: int, retry_after_s: int) -> None:
        super().__init__(
            f"{waiting} inputs wait already. Try again in {retry_after_s} s or add gateways."
        )
        self.retry_after_s = retry_after_s


class ModelNotReady(InferenceError):
    """The model is known, and cannot be served now."""

    def __init__(self, model: str, sentence: str) -> None:
        super().__init__(f"{model} cannot be served now: {sentence}")


class ScoringFailed(InferenceError):
    """The model did not give a usable answer for this one input."""

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.cause = cause
