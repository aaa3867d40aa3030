"""The pretrained body a Learner began with, for its domain score. Runs in the child only.

Fine-tuning teaches the layers of a body to tell the owner's classes apart, and to disregard what
does not: night, blur, another camera. The body as it was before still sees that. It comes from the
weights of a named architecture that lie on this machine, or from a file: a Learner exported before
fine-tuning, or weights that fit the Learner's own network. Nothing is downloaded.
"""

import copy
import hashlib
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from reference_data.errors import ImportRefused
from reference_data.importing.job import BodyJob
from reference_data.importing.weight_places import Wanted, from_timm, from_torchvision
from reference_data.preprocess import Preprocessing
from reference_data.steps import Normalize

_CHANNELS = 3
Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel, of pixels from 0 to 1."""
PLAIN: Statistics = ((0.0,), (1.0,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A network whose weights are those from before fine-tuning."""

    model: nn.Module
    within: str
    """Module under which the weights are the pretrained ones; "" for all of it."""
    statistics: Statistics | None
    """How it wants its input normalised; None as the Learner does."""
    source: str
    """Where it comes from, for people."""
    weights_file: str
    weights_sha256: str


class Restated(nn.Module):
    """A network fed with what the Learner is fed, normalised anew as it expects."""

    scale: Tensor
    shift: Tensor

    def __init__(self, model: nn.Module, scale: Tensor, shift: Tensor, channels: int) -> None:
        super().__init__()
        self.model = model
        self.channels = channels
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    @override
    def forward(self, pictures: Tensor) -> Tensor:
        """Pass pictures [n, c, h, w] on; grey ones in as many channels as are expected."""
        result: Tensor = self.model(
            pictures.expand(-1, self.channels, -1, -1) * self.scale + self.shift
        )
        return result


def open_body(
    job: BodyJob, learner: Any, open_learner: Callable[[str], Any], restate: Callable[[Any], Any]
) -> Body:
    """Open the body that a job names.

    Parameters
    ----------
    learner
        The Learner that is imported.
    open_learner
        Opens a file as a Learner, or refuses it.
    restate
        Gives the `Preprocessing` of another Learner.

    Raises
    ------
    ImportRefused
        When there are no such weights here, or they fit nothing.
    """
    if job.file is None:
        return _named(job)
    weights = _read_weights(Path(job.file))
    if weights is not None:
        model = copy.deepcopy(learner.model).eval()
        within = _load_into(model, weights, job.label)
        statistics = None
    else:
        before = open_learner(job.file)
        model, within, statistics = before.model.eval(), "", _statistics(restate(before))
    return Body(
        model=model,
        within=within,
        statistics=statistics,
        source=f"the file {job.label}",
        weights_file=job.label,
        weights_sha256=_sha256(Path(job.file)),
    )


def fed_as(body: Body, preprocessing: Preprocessing) -> nn.Module:
    """Wrap a body so that it takes what the Learner's network takes."""
    if body.statistics is None or body.statistics == _statistics(preprocessing):
        return body.model
    mean, std = (torch.tensor(each) for each in _statistics(preprocessing))
    own_mean, own_std = (torch.tensor(each) for each in body.statistics)
    channels = max(len(own_mean), preprocessing.channels)
    scale = (std / own_std).expand(channels)[None, :, None, None].clone()
    shift = ((mean - own_mean) / own_std).expand(channels)[None, :, None, None].clone()
    return Restated(body.model, scale, shift, channels).eval()


def _statistics(preprocessing: Preprocessing) -> Statistics:
    found = [step for step in preprocessing.steps if isinstance(step, Normalize)]
    if len(found) > 1:
        raise ImportRefused(
            "the Learner normalises twice, so that what a pretrained body would see cannot be "
            "told. Leave out --domain-body, or use one Normalize."
        )
    return (found[0].mean, found[0].std) if found else PLAIN


def _named(job: BodyJob) -> Body:
    wanted: list[Wanted] = [
        found for found in (from_torchvision(job), from_timm(job)) if found is not None
    ]
    if not wanted:
        raise ImportRefused(
            f"--domain-body {job.label!r} is no file, and neither torchvision nor timm has an "
            "architecture of that name. Give a name such as resnet34, or a file."
        )
    for each in wanted:
        for place in each.places:
            if place.is_file():
                return Body(
                    model=each.load(place),
                    within="",
                    statistics=each.statistics,
                    source=f"{job.label} ({each.package})",
                    weights_file=place.name,
                    weights_sha256=_sha256(place),
                )
    looked = "\n".join(f"  {place}" for each in wanted for place in each.places)
    raise ImportRefused(
        f"there are no pretrained weights of {job.label} on this machine, and nothing is "
        f"downloaded. Looked for:\n{looked}\nPut them there, or fetch them where there is a "
        f"network: python -c '{wanted[0].fetch}'. Or give a file: --domain-body FILE."
    )


def _read_weights(file: Path) -> Mapping[str, Tensor] | None:
    """Read a file of weights without running any code; None when it holds more than weights."""
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError):
        return None
    # What learn.save writes with the optimiser's state, and what trainers usually write.
    for key in ("model", "state_dict"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict):
        return None
    return {str(name): each for name, each in found.items() if isinstance(each, Tensor)}


def _load_into(model: nn.Module, weights: Mapping[str, Tensor], label: str) -> str:
    """Load weights into the largest part of a network that they fill; return its name."""
    best: tuple[int, str, dict[str, Tensor]] = (0, "", {})
    for name, module in model.named_modules():
        own = module.state_dict()
        for prefix in {"", f"{name}." if name else ""}:
            found = {key: weights.get(prefix + key) for key in own}
            fits = all(
                each is not None and each.shape == own[key].shape
                for key, each in found.items()
                if not key.endswith("num_batches_tracked")
            )
            size = sum(each.numel() for each in own.values())
            if fits and size > best[0]:
                kept = {key: each for key, each in found.items() if each is not None}
                best = (size, name, kept)
    size, name, kept = best
    whole = sum(each.numel() for each in model.state_dict().values())
    if size < _FITTING * whole:
        raise ImportRefused(
            f"the weights in {label} do not fit the Learner's network: no part of it that holds "
            "half of its weights has the same names and shapes. Give what learn.save or "
            "learn.export wrote before fine-tuning, or a name that torchvision or timm knows."
        )
    model.get_submodule(name).load_state_dict(kept, strict=False)
    return name


_FITTING = 0.5
"""Share of a network's weights that a file must fill."""


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
