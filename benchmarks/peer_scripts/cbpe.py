"""NannyML's CBPE: fit on the reference, estimate the accuracy of every window as one chunk."""

import json
import sys
import warnings

import numpy as np
import numpy.typing as npt
import pandas as pd  # type: ignore[import-untyped]

warnings.filterwarnings("ignore")

import nannyml as nml  # noqa: E402

Floats = npt.NDArray[np.float64]


def frame(probabilities: Floats, labels: Floats | None = None) -> pd.DataFrame:
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    columns: dict[str, object] = {"predicted": [f"c{k}" for k in predicted]}
    for k in range(classes):
        columns[f"p{k}"] = probabilities[:, k]
    if labels is not None:
        columns["truth"] = [f"c{k}" for k in labels]
    if classes == 2:
        columns["predicted"] = predicted
        if labels is not None:
            columns["truth"] = labels
    return pd.DataFrame(columns)


def estimated(reference: Floats, labels: Floats, windows: Floats, size: int) -> list[float]:
    classes = reference.shape[1]
    estimator = nml.CBPE(
        y_pred_proba="p1" if classes == 2 else {f"c{k}": f"p{k}" for k in range(classes)},
        y_pred="predicted",
        y_true="truth",
        metrics=["accuracy"],
        problem_type="classification_binary" if classes == 2 else "classification_multiclass",
        chunk_size=size,
    )
    estimator.fit(frame(reference, labels))
    found = estimator.estimate(frame(windows)).filter(period="analysis").to_df()
    values: list[float] = found[("accuracy", "value")].to_numpy(dtype=float).tolist()
    return values


def main(given: str, told: str, found: str) -> None:
    arrays = np.load(given)
    with open(told) as file:
        sizes = json.load(file)["sizes"]
    answers = {
        name: estimated(
            arrays[f"{name}/reference"].astype(float),
            arrays[f"{name}/labels"],
            arrays[f"{name}/windows"].astype(float),
            size,
        )
        for name, size in sizes.items()
    }
    with open(found, "w") as file:
        json.dump(answers, file)


main(*sys.argv[1:])
