"""Alibi Detect's MMDDrift on one reference and one window; told how many permutations."""

import json
import sys
import time
from pathlib import Path

import numpy as np
from alibi_detect.cd import MMDDrift

arrays = np.load(sys.argv[1])
options = json.loads(Path(sys.argv[2]).read_text())
begun = time.perf_counter()
detector = MMDDrift(
    arrays["reference"], backend="pytorch", p_val=0.05, n_permutations=options["permutations"]
)
set_up = time.perf_counter() - begun
begun = time.perf_counter()
found = detector.predict(arrays["window"])
seconds = time.perf_counter() - begun
result = {"set_up_s": set_up, "seconds": seconds, "p": float(found["data"]["p_val"])}
Path(sys.argv[3]).write_text(json.dumps(result))
