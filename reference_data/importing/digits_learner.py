"""Train the demo's Learner: an ordinary fastai script over a folder of images.

Nothing here knows of Fieldwatch. It stands in for the notebook in which a team trained its model,
so that the demo imports a real exported Learner by the same path as anybody's.
"""

import argparse
import random
from pathlib import Path

import numpy as np
import torch
from fastai.vision.all import (
    CategoryBlock,
    ConvLayer,
    DataBlock,
    Flatten,
    GrandparentSplitter,
    ImageBlock,
    Learner,
    PILImageBW,
    Resize,
    accuracy,
    get_image_files,
    parent_label,
)
from torch import nn


def digit_network(classes: int) -> nn.Sequential:
    """Build a small convolutional classifier of 32 × 32 grey images.

    Parameters
    ----------
    classes
        Number of outputs.
    """
    body = nn.Sequential(
        ConvLayer(1, 16, ks=3),
        ConvLayer(16, 32, ks=3, stride=2),
        ConvLayer(32, 32, ks=3),
        ConvLayer(32, 64, ks=3, stride=2),
        ConvLayer(64, 64, ks=3),
    )
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(2), Flatten(), nn.Dropout(0.2), nn.Linear(256, classes)
    )
    return nn.Sequential(body, head)


def train(data: Path, destination: Path, *, seed: int, epochs: int) -> float:
    """Train on `data/train`, validate on `data/valid`, export to `destination`.

    Parameters
    ----------
    data
        Folder with ``train/<label>/`` and ``valid/<label>/``.
    destination
        Where the exported Learner (a pickle) goes.
    seed
        Seeds Python, NumPy and torch.
    epochs
        Passes over the training images.

    Returns
    -------
    float
        Accuracy on the held-out images, 0 to 1.
    """
    random.seed(seed)
    np.random.seed(seed)  # fastai shuffles with NumPy's global generator
    torch.manual_seed(seed)
    block = DataBlock(
        blocks=(ImageBlock(PILImageBW), CategoryBlock),
        get_items=get_image_files,
        get_y=parent_label,
        splitter=GrandparentSplitter(train_name="train", valid_name="valid"),
        item_tfms=Resize(32),
    )
    loaders = block.dataloaders(data, bs=64, num_workers=0)
    learner = Learner(loaders, digit_network(len(loaders.vocab)), metrics=accuracy)
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(epochs, 6e-3)
    learner.export(destination)
    return float(learner.validate()[1])


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("destination", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args()
    held_out = train(options.data, options.destination, seed=options.seed, epochs=options.epochs)
    print(f"{held_out:.4f}")  # noqa: T201  the demo reads it


if __name__ == "__main__":
    main()
