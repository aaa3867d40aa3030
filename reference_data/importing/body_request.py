"""What `--domain-body` names: a file, or an architecture whose weights lie on this machine."""

import os
import shutil
from pathlib import Path

from reference_data.errors import ImportRefused
from reference_data.importing.job import BodyJob
from reference_data.importing.request import ImportRequest

_SUFFIXES = (".pkl", ".pth", ".pt", ".bin", ".ckpt")


def find_file(request: ImportRequest) -> Path | None:
    """Give the file that holds the body; None for an architecture, or when none is asked for.

    Raises
    ------
    ImportRefused
        When it is named like a file and there is none.
    """
    if request.domain_body is None:
        return None
    place = Path(request.domain_body)
    if place.is_file():
        return place
    if place.suffix in _SUFFIXES or os.sep in request.domain_body:
        raise ImportRefused(
            f"there is no file {place}. Check --domain-body: it takes a Learner or weights from "
            "before fine-tuning, or a name that torchvision or timm knows, such as resnet34."
        )
    return None


def body_job(request: ImportRequest, file: Path | None, folder: Path) -> BodyJob | None:
    """Say which body is to be opened; what is opened of a file is a copy that nobody changes."""
    if request.domain_body is None:
        return None
    copied = None
    if file is not None:
        copied = folder / f"body{file.suffix}"
        shutil.copyfile(file, copied)
    return BodyJob(
        label=request.domain_body if file is None else file.name,
        file=None if copied is None else str(copied),
        checkpoints=str(_torch_home() / "hub" / "checkpoints"),
        hub=str(_hub()),
    )


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute()


def _torch_home() -> Path:
    return Path(os.environ.get("TORCH_HOME") or _cache() / "torch").absolute()


def _hub() -> Path:
    home = Path(os.environ.get("HF_HOME") or _cache() / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub").absolute()
