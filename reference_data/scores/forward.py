"""What one forward pass yields, and what all scores are computed from."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LARGEST_HALF = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forward:
    """The outputs of one forward pass over m inputs, float32."""

    logits: npt.NDArray[np.float32]
    """[m, C]."""
    embedding: npt.NDArray[np.float32]
    """What the last layer sees, [m, d]."""
    mid: npt.NDArray[np.float32]
    """Features of a middle layer, averaged over the image, [m, d_mid]."""

    def __len__(self) -> int:
        return len(self.logits)

    def take(self, rows: npt.NDArray[np.intp]) -> "Forward":
        """Pick rows, in the order given."""
        return Forward(logits=self.logits[rows], embedding=self.embedding[rows], mid=self.mid[rows])

    def finite(self) -> npt.NDArray[np.bool_]:
        """Tell which rows hold only finite numbers, [m]."""
        outputs = (self.logits, self.embedding, self.mid)
        finite = [np.isfinite(output).all(axis=1) for output in outputs]
        return np.asarray(np.logical_and.reduce(finite, axis=0))


def concatenate(parts: list[Forward]) -> Forward:
    """Join passes over several batches into one."""
    return Forward(
        logits=np.concatenate([part.logits for part in parts]),
        embedding=np.concatenate([part.embedding for part in parts]),
        mid=np.concatenate([part.mid for part in parts]),
    )


def normalised(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Scale every row to length 1; a row of zeros stays zeros."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return (features / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Turn logits into probabilities, row by row, in float32 as the model's framework does."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: npt.NDArray[np.float32] = raised / raised.sum(axis=1, keepdims=True)
    return shares


def half(embedding: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    """Round embeddings to the precision they are stored in; beyond its range, to its ends."""
    return np.clip(embedding, -LARGEST_HALF, LARGEST_HALF).astype(np.float16)
