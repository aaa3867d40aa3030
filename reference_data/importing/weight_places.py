"""Where torchvision and timm keep pretrained weights on this machine. Runs in the child only."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reference_data.importing.job import BodyJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An architecture that a package knows, and the files its weights may lie in."""

    package: str
    places: tuple[Path, ...]
    statistics: tuple[tuple[float, ...], tuple[float, ...]]
    load: Callable[[Path], nn.Module]
    fetch: str
    """Python that downloads the weights, for people."""


def from_torchvision(job: BodyJob) -> Wanted | None:
    """Look an architecture for classifying pictures up in torchvision."""
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models)
    if job.label not in names:
        return None
    kinds: Any = torchvision.models.get_model_weights(job.label)
    each = [kinds.DEFAULT, *(kind for kind in kinds if kind is not kinds.DEFAULT)]
    transforms = kinds.DEFAULT.transforms()

    def load(place: Path) -> nn.Module:
        model: nn.Module = torchvision.models.get_model(job.label, weights=None)
        model.load_state_dict(torch.load(place, map_location="cpu", weights_only=True))
        return model.eval()

    return Wanted(
        package="torchvision",
        places=tuple(Path(job.checkpoints) / Path(kind.url).name for kind in each),
        statistics=(tuple(transforms.mean), tuple(transforms.std)),
        load=load,
        fetch=f'import torchvision; torchvision.models.get_model("{job.label}", weights="DEFAULT")',
    )


def from_timm(job: BodyJob) -> Wanted | None:
    """Look an architecture up in timm, where that is installed."""
    try:
        import timm
    except ImportError:
        return None
    if not timm.is_model(job.label):
        return None
    settings = timm.get_pretrained_cfg(job.label)
    if settings is None:
        return None
    places = []
    if settings.hf_hub_id:
        folder = Path(job.hub) / f"models--{settings.hf_hub_id.replace('/', '--')}" / "snapshots"
        files = ("model.safetensors", "pytorch_model.bin")
        places += [place for name in files for place in sorted(folder.glob(f"*/{name}"))]
        places = places or [folder / "*" / files[0]]
    if settings.url:
        places.append(Path(job.checkpoints) / Path(str(settings.url)).name)

    def load(place: Path) -> nn.Module:
        model: nn.Module = timm.create_model(job.label, pretrained=False)
        if place.suffix == ".safetensors":
            from safetensors.torch import load_file

            model.load_state_dict(load_file(place))
        else:
            model.load_state_dict(torch.load(place, map_location="cpu", weights_only=True))
        return model.eval()

    return Wanted(
        package="timm",
        places=tuple(places),
        statistics=(tuple(settings.mean), tuple(settings.std)),
        load=load,
        fetch=f'import timm; timm.create_model("{job.label}", pretrained=True)',
    )
