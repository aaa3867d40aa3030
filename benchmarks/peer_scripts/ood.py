"""Score rows by every detector of pytorch-ood that works on features or logits.

Reads what `benchmarks.ood` wrote: outputs of one network for training, held-out and other rows, and
its last layer. Every detector is made with the settings its package gives it, fitted on training
rows, and scores every part: larger is more unusual. Those that need gradients, inputs or other
layers are left out.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_ood import detector as peers
from torch import nn


def make(weights: torch.Tensor, bias: torch.Tensor, classes: int) -> dict[str, Any]:
    """Build the detectors by name."""
    head = nn.Linear(weights.shape[1], classes)
    with torch.no_grad():
        head.weight.copy_(weights)
        head.bias.copy_(bias)
    head.eval()
    on_maps = nn.Sequential(nn.Flatten(), head)
    same = nn.Identity()
    d = weights.shape[1]
    principal = 1_000 if d >= 2_048 else 512 if d >= 768 else d // 2
    return {
        "MaxSoftmax": lambda: peers.MaxSoftmax(None),
        "MaxLogit": lambda: peers.MaxLogit(None),
        "EnergyBased": lambda: peers.EnergyBased(None),
        "Entropy": lambda: peers.Entropy(None),
        "GEN": lambda: peers.GEN(None),
        "KLMatching": lambda: peers.KLMatching(None),
        "OpenMax": lambda: peers.OpenMax(None),
        "KNN": lambda: peers.KNN(None),
        "Mahalanobis": lambda: peers.Mahalanobis(None),
        "RMD": lambda: peers.RMD(None),
        "GMM": lambda: peers.GMM(None),
        "ViM": lambda: peers.ViM(None, principal, weights, bias),
        "SHE": lambda: peers.SHE(same, head),
        "NCI": lambda: peers.NCI(same, head),
        "NNGuide": lambda: peers.NNGuide(same, head),
        "PNML": lambda: peers.PNML(None, head),
        "DICE": lambda: peers.DICE(None, weights, bias, 0.7),
        "LTS": lambda: peers.LTS(None, head),
        "ReAct": lambda: peers.ReAct(same, on_maps),
        "VRA": lambda: peers.VRA(same, on_maps),
        "ASH": lambda: peers.ASH(same, on_maps),
        "SCALE": lambda: peers.SCALE(same, on_maps),
    }


def score(detector: Any, arrays: dict[str, Any], parts: list[str]) -> dict[str, list[float]]:
    """Fit a detector on the training rows, and score all parts."""
    labels = torch.from_numpy(arrays["train_labels"])
    z = torch.from_numpy(arrays["train/embedding"])
    maps = z[:, :, None, None]
    if hasattr(detector, "fit_logits"):
        detector.fit_logits(torch.from_numpy(arrays["train/logits"]), labels)
    elif hasattr(detector, "fit_features"):
        detector.fit_features(z, labels)
    elif hasattr(detector, "fit_feature_maps"):
        detector.fit_feature_maps(maps, labels)
    found = {}
    for part in parts:
        embedding = torch.from_numpy(arrays[f"{part}/embedding"])
        if hasattr(detector, "predict_logits"):
            scores = detector.predict_logits(torch.from_numpy(arrays[f"{part}/logits"]))
        elif hasattr(detector, "predict_features"):
            scores = detector.predict_features(embedding)
        else:
            scores = detector.predict_feature_maps(embedding[:, :, None, None])
        found[part] = scores.detach().cpu().numpy().astype(float).ravel().tolist()
    return found


def main(given: str, told: str, found: str) -> None:
    """Read, score, write."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    np.random.seed(0)
    with np.load(given, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    parts = json.loads(Path(told).read_text())["parts"]
    weights, bias = (torch.from_numpy(arrays[key]) for key in ("weights", "bias"))
    result: dict[str, Any] = {"scores": {}, "failed": {}, "ms": {}}
    for name, build in make(weights, bias, len(bias)).items():
        begun = time.perf_counter()
        try:
            with torch.no_grad():
                result["scores"][name] = score(build(), arrays, parts)
        except Exception as error:  # noqa: BLE001  one that fails must not hide the others
            result["failed"][name] = f"{type(error).__name__}: {error}"
        result["ms"][name] = (time.perf_counter() - begun) * 1_000
    Path(found).write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
