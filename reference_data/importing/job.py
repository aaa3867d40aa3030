"""What passes between an import and the child process that opens the pickle: files, never objects.

The job goes in as JSON; the outcome comes back as JSON beside plain arrays and the exported model.
Nothing the child wrote is unpickled.
"""

import msgspec

from reference_data.preprocess import Preprocessing

JOB = "job.json"
OUTCOME = "outcome.json"
MODEL = "model.onnx"
HEAD = "head.npz"
"""Last layer: `weight` [C, d] and `bias` [C]; absent when the model does not end in one."""
FEATURES = "features.npy"
"""What the body itself made of the parity items: float32 [n, d_mid]."""
INPUTS = "inputs.npy"
"""What the Learner gave its model for the parity items: float32 [n, channels, height, width]."""
PROBABILITIES = "probabilities.npy"
"""What the Learner predicted for them: float32 [n, C]."""


class BodyJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which pretrained body is to be opened."""

    label: str
    """Name of an architecture, or of the file, as the owner gave it."""
    file: str | None
    """A copy of the file; None to find an architecture's weights."""
    checkpoints: str
    """Folder in which torch keeps downloaded weights."""
    hub: str
    """Folder in which the Hugging Face hub does."""


class BodyOutcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body that was exported."""

    source: str
    weights_file: str
    weights_sha256: str
    layer: str
    dim: int


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the child is to do."""

    learner: str
    learner_name: str
    """The file's own name, for messages."""
    code: str | None
    items: tuple[str, ...]
    """Real pictures to predict, absolute paths."""
    mid_layer: str | None
    confine: bool
    body: BodyJob | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True, tag="outcome", forbid_unknown_fields=True):
    """What the child found and wrote."""

    vocab: tuple[str, ...]
    preprocessing: Preprocessing
    mid_layer: str
    embedding_dim: int
    mid_dim: int
    architecture: str
    parameters: int
    items_as: str
    """How the Learner took the items: ``Path``, ``str`` or ``image``."""
    confinement: tuple[str, ...]
    """What held the child: empty when nothing did."""
    versions: dict[str, str]
    body: BodyOutcome | None = None


class Refusal(msgspec.Struct, frozen=True, kw_only=True, tag="refusal", forbid_unknown_fields=True):
    """Why the Learner cannot be imported."""

    refused: str


class Tick(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of progress: items done of a step."""

    step: str
    total: int | None
    done: int
