"""Forward passes on disk: written once, read in batches as often as needed.

The passes over a million pictures are several gigabytes. Scores are fitted by going through them
more than once, which needs a disk rather than memory.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reference_data.scores.forward import Forward

_OUTPUTS = ("logits", "embedding", "mid")
_BATCH = 1_024


class PassFile:
    """Three files of rows in a folder, float32, one for each output."""

    def __init__(self, folder: Path) -> None:
        self._files = {name: folder / f"pass-{name}.f32" for name in _OUTPUTS}
        self._widths: dict[str, int] = {}
        self._rows = 0
        for file in self._files.values():
            file.write_bytes(b"")

    def __len__(self) -> int:
        return self._rows

    def append(self, outputs: Forward) -> None:
        """Write the passes of further rows."""
        for name, file in self._files.items():
            array: NDArray[np.float32] = getattr(outputs, name)
            self._widths.setdefault(name, array.shape[1])
            with file.open("ab") as handle:
                handle.write(np.ascontiguousarray(array, dtype=np.float32).tobytes())
        self._rows += len(outputs)

    def __iter__(self) -> Iterator[Forward]:
        for start in range(0, self._rows, _BATCH):
            rows = min(_BATCH, self._rows - start)
            logits, embedding, mid = (self._read(name, start, rows) for name in _OUTPUTS)
            yield Forward(logits=logits, embedding=embedding, mid=mid)

    def _read(self, name: str, start: int, rows: int) -> NDArray[np.float32]:
        width = self._widths[name]
        array: NDArray[np.float32] = np.fromfile(
            self._files[name], np.float32, rows * width, offset=4 * start * width
        )
        return array.reshape(rows, width)
