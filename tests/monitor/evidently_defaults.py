"""Say how often Evidently's own thresholds call something drifted when nothing is: a process."""

import json
import sys

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from evidently.legacy.calculations.stattests import get_stattest
from evidently.legacy.core import ColumnType


def flagged(reference: pd.DataFrame, window: pd.DataFrame) -> bool:
    """Tell whether any column reaches its default threshold by its default test."""
    for name in reference:
        numbers = pd.api.types.is_numeric_dtype(reference[name])
        kind = ColumnType.Numerical if numbers else ColumnType.Categorical
        test = get_stattest(reference[name], window[name], kind, None)
        if test(reference[name], window[name], kind, None).drifted:
            return True
    return False


def main(n: int, sizes: list[int], trials: int) -> None:
    """Print a JSON object: windows flagged, by size."""
    rng = np.random.default_rng(7)

    def draw(rows: int) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "p": rng.uniform(size=rows),
                "bytes": np.exp(rng.normal(11, 1, rows)),
                "quality": np.round(rng.normal(size=rows)),
                "prediction": rng.choice(["black", "grizzly", "teddy"], rows, p=[0.6, 0.35, 0.05]),
            }
        )

    counts = {s: sum(flagged(draw(n), draw(s)) for _ in range(trials)) for s in sizes}
    print(json.dumps(counts))  # noqa: T201 - what the process is for


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(size) for size in sys.argv[2].split(",")], int(sys.argv[3]))
