"""Evidently's DataDriftPreset on two tables of numbers."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

arrays = np.load(sys.argv[1])
columns = [f"c{i}" for i in range(arrays["reference"].shape[1])]
definition = DataDefinition(numerical_columns=columns)
reference, current = (
    Dataset.from_pandas(pd.DataFrame(arrays[name], columns=columns), data_definition=definition)
    for name in ("reference", "window")
)
begun = time.perf_counter()
found = Report([DataDriftPreset()]).run(current, reference).dict()
seconds = time.perf_counter() - begun
first = found["metrics"][0]["value"]
result = {"seconds": seconds, "drifted": float(first["count"])}
Path(sys.argv[3]).write_text(json.dumps(result))
