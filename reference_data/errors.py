"""What can be wrong with a model, its reference or an input.

::

    ReferenceDataError
    ├── InputRejected        an input that cannot be served; carries a `RejectionCause`
    ├── BundleError
    │   ├── BundleMissing    no bundle there, or a file of it is gone
    │   ├── BundleCorrupt    a file's bytes are not those the manifest names
    │   ├── BundleTooNew     written by a newer Fieldwatch
    │   └── BundleMixed      its parts do not belong to one model
    └── ImportRefused        a Learner or its data that cannot be imported faithfully

Each message names the thing, the cause and the way out.
"""

from enum import StrEnum
from pathlib import Path


class ReferenceDataError(Exception):
    """Anything this package refuses."""


class RejectionCause(StrEnum):
    """Why an input was not served: a short code for records, metrics and clients."""

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


class InputRejected(ReferenceDataError):
    """An input that cannot be served as training would have served it."""

    def __init__(self, cause: RejectionCause, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class BundleError(ReferenceDataError):
    """A bundle that must not be served."""


class BundleMissing(BundleError):
    """There is no bundle there, or one of its files is gone."""

    def __init__(self, path: Path, file: str | None = None) -> None:
        what = (
            f"{path} is not a bundle: it has no manifest.json"
            if file is None
            else (f"the bundle {path} has lost its file {file}")
        )
        super().__init__(f"{what}. Import the model again, or restore the folder from a backup.")


class BundleCorrupt(BundleError):
    """A file of the bundle is not the one that was imported."""

    def __init__(self, path: Path, file: str, found: str, expected: str) -> None:
        super().__init__(
            f"{file} of the bundle {path} has changed since it was imported: its SHA-256 is "
            f"{found[:12]}…, the one recorded is {expected[:12]}…. "
            "Restore the file from a backup, or import the model again."
        )


class BundleTooNew(BundleError):
    """The bundle was written by a newer Fieldwatch."""

    def __init__(self, path: Path, found: int, supported: int) -> None:
        super().__init__(
            f"the bundle {path} has format {found}; this Fieldwatch reads up to {supported}. "
            "Upgrade Fieldwatch, or import the model again with this version."
        )


class BundleMixed(BundleError):
    """Parts of the bundle do not belong to one model."""

    def __init__(self, path: Path, file: str, found: int, expected: int) -> None:
        super().__init__(
            f"{file} of the bundle {path} holds embeddings of {found} numbers, and its model's "
            f"have {expected}. A model whose embedding changed is another version: import it again."
        )


class ImportRefused(ReferenceDataError):
    """A Learner or its data that cannot be imported faithfully; the message says what to do."""
