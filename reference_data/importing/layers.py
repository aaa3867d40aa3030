"""Find the two places in a network that out-of-domain scores look at. Runs in the child only.

*Embedding*: what the last weighted layer sees. *Mid*: features of a middle layer, averaged over
the picture. They come from the last stage before the final downsampling, for fine-tuning moves
the last stage most and hides there what a change of camera or style looks like. In a transformer,
which keeps its size, they come from the block at three quarters of the depth.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from reference_data.errors import ImportRefused

_TRANSFORMER_DEPTH = 0.75
_CANDIDATES_SHOWN = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a module that gave one tensor, in the order in which calls ended."""

    name: str
    shape: tuple[int, ...]
    spatial: tuple[int, int] | None
    """Height and width of a feature map larger than 1 × 1, else ``None``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The last weighted layer."""

    name: str
    linear: bool
    """Whether it is an `nn.Linear` whose output, untouched, is the logits."""


def trace(model: nn.Module, inputs: Tensor) -> tuple[Call, ...]:
    """Run the model once and list its calls.

    Parameters
    ----------
    inputs
        A real batch, [n, channels, height, width].
    """
    calls: list[Call] = []
    aspect = (inputs.shape[-2], inputs.shape[-1])

    def record(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _arguments: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim in (2, 3, 4):
                shape = tuple(output.shape)
                calls.append(Call(name=name, shape=shape, spatial=_spatial(shape, aspect)))

        return hook

    with (
        _hooked(
            module.register_forward_hook(record(name)) for name, module in model.named_modules()
        ),
        torch.no_grad(),
    ):
        model(inputs)
    return tuple(calls)


def find_head(model: nn.Module, inputs: Tensor) -> Head:
    """Find the last weighted layer that runs.

    Raises
    ------
    ImportRefused
        When no linear or convolutional layer runs.
    """
    last: dict[str, Any] = {}
    weighted = (nn.Linear, nn.Conv2d)

    def record(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, _arguments: Any, output: Any) -> None:
            last.update(name=name, module=module, output=output)

        return hook

    with (
        _hooked(
            module.register_forward_hook(record(name))
            for name, module in model.named_modules()
            if isinstance(module, weighted)
        ),
        torch.no_grad(),
    ):
        logits = model(inputs)
    if not last:
        raise ImportRefused(
            "no nn.Linear or nn.Conv2d of the model runs when it predicts, so there is no "
            "embedding to take. Build the last layer from one of them, and export it again."
        )
    linear = (
        isinstance(last["module"], nn.Linear)
        and last["output"].ndim == 2
        and last["output"].shape == logits.shape
        and torch.equal(torch.as_tensor(last["output"]), torch.as_tensor(logits))
    )
    return Head(name=last["name"], linear=linear)


def find_last_layers(model: nn.Module, head: Head, inputs: Tensor) -> str:
    """Find the outermost module that holds the head and is given features, not the picture.

    In a network that ends in one linear layer that is the layer itself, and what it is given are
    the pooled features; in a fastai one it is the whole custom head, and the last feature maps.
    """
    given: dict[str, tuple[int, ...]] = {}

    def record(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, arguments: tuple[Any, ...]) -> None:
            if arguments and isinstance(arguments[0], Tensor):
                given.setdefault(name, tuple(arguments[0].shape))

        return hook

    parts = head.name.split(".")
    holders = [".".join(parts[: k + 1]) for k in range(len(parts))]
    with (
        _hooked(
            model.get_submodule(name).register_forward_pre_hook(record(name)) for name in holders
        ),
        torch.no_grad(),
    ):
        model(inputs)
    size = tuple(inputs.shape[-2:])
    return next((n for n in holders if n in given and given[n][-2:] != size), head.name)


def runs_before(model: nn.Module, last: str, calls: tuple[Call, ...]) -> tuple[str, ...]:
    """List the modules with weights of their own that end before a module's own parts do."""
    weighted = {
        name
        for name, module in model.named_modules()
        if any(True for _ in module.parameters(False))
    }
    inside = [k for k, call in enumerate(calls) if _within(call.name, last)]
    before = calls[: inside[0]] if inside else calls
    return tuple(dict.fromkeys(call.name for call in before if call.name in weighted))


def choose_mid_layer(model: nn.Module, calls: tuple[Call, ...], wanted: str | None) -> str:
    """Choose the module whose output becomes the mid-layer features.

    Parameters
    ----------
    calls
        What `trace` listed.
    wanted
        A module's name, as in ``named_modules``; ``None`` chooses.

    Raises
    ------
    ImportRefused
        When `wanted` is no module that runs once and gives a map, tokens or a vector.
    """
    candidates = [call.name for call in calls if call.name and _runs_once(call.name, calls)]
    if wanted is not None:
        if wanted not in candidates:
            raise ImportRefused(
                f"--mid-layer {wanted!r} is no module of the model that runs exactly once and "
                f"gives one tensor. Choose one of: {', '.join(_spread(candidates))}."
            )
        return wanted
    chosen = _transformer_block(model, calls) or _stage_before_final(model, calls)
    if chosen is None:
        raise ImportRefused(
            "no layer of the model gives a feature map or tokens, so there is no mid layer to "
            f"take. Name one with --mid-layer, such as: {', '.join(_spread(candidates))}."
        )
    return chosen


def pooled(features: Tensor, aspect: tuple[int, int]) -> Tensor:
    """Average over the picture: [n, c, h, w], [n, h, w, c], [n, t, c] or [n, c] become [n, c]."""
    if features.ndim == 4:
        channels_last = _channels_last(tuple(features.shape), aspect)
        return features.mean(dim=(1, 2) if channels_last else (2, 3))
    if features.ndim == 3:
        return features.mean(dim=1)
    return features


def _stage_before_final(model: nn.Module, calls: tuple[Call, ...]) -> str | None:
    """Walk down to where maps reach their final size, and take what came just before.

    The final size is that of the last map a module with weights of its own or below gave, which
    leaves out the pooling of the head.
    """
    last = _last_weighted_map(model, calls)
    if last is None:
        return None
    maps = [call for call in calls if call.spatial is not None]
    final = calls[last].spatial
    ran = {call.name: call for call in maps if _runs_once(call.name, calls)}
    level, fallback = "", None
    while True:
        before = None
        for name in _running_children(model, level, calls):
            reaches = [call for call in maps if _within(call.name, name) and call.spatial == final]
            if reaches:
                break
            before = name if name in ran else before
        else:
            return fallback
        if before is not None:
            return _outermost(model, before, calls)
        level, fallback = name, name if name in ran else fallback


def _last_weighted_map(model: nn.Module, calls: tuple[Call, ...]) -> int | None:
    """Return which call was the last to give a map, of modules that hold weights."""
    weighted = {
        name for name, module in model.named_modules() if any(True for _ in module.parameters())
    }
    maps = [
        index
        for index, call in enumerate(calls)
        if call.spatial is not None and call.name in weighted
    ]
    return maps[-1] if maps else None


def _transformer_block(model: nn.Module, calls: tuple[Call, ...]) -> str | None:
    """Return the block at three quarters of the longest row of equal token-to-token blocks.

    A network that goes back to maps after its blocks is convolutional at heart, and has none.
    """
    rows: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for call in calls[(_last_weighted_map(model, calls) or 0) :]:
        parent, _, last = call.name.rpartition(".")
        if len(call.shape) == 3 and last.isdigit() and _runs_once(call.name, calls):
            rows.setdefault((parent, call.shape), []).append(call.name)
    blocks = max(rows.values(), key=len, default=[])
    if len(blocks) < 2:
        return None
    return blocks[math.ceil(_TRANSFORMER_DEPTH * len(blocks)) - 1]


def _running_children(model: nn.Module, level: str, calls: tuple[Call, ...]) -> list[str]:
    """List the children that run, in the order in which they first do.

    One that only holds others, a ModuleList or a Sequential, gives way to them. One that runs again
    later, such as an activation that is shared, is left out: it has no one place.
    """
    first = {call.name: index for index, call in reversed(list(enumerate(calls)))}

    def running(above: str) -> Iterator[str]:
        for child, _ in model.get_submodule(above).named_children():
            name = f"{above}.{child}" if above else child
            if name in first and not _is_sequence(model, name):
                if _runs_once(name, calls):
                    yield name
            else:
                yield from running(name)

    return sorted(running(level), key=first.__getitem__)


def _outermost(model: nn.Module, name: str, calls: tuple[Call, ...]) -> str:
    """Climb to the Sequential that ends in this module: ``layer3`` rather than its last block."""
    parent = name.rpartition(".")[0]
    while parent and _is_sequence(model, parent) and _runs_once(parent, calls):
        if not name.endswith(f".{len(list(model.get_submodule(parent).children())) - 1}"):
            break
        name, parent = parent, parent.rpartition(".")[0]
    return name


def _is_sequence(model: nn.Module, name: str) -> bool:
    return type(model.get_submodule(name)).forward is nn.Sequential.forward


def _within(name: str, ancestor: str) -> bool:
    return name == ancestor or name.startswith(f"{ancestor}.")


def _runs_once(name: str, calls: tuple[Call, ...]) -> bool:
    return sum(call.name == name for call in calls) == 1


def _spatial(shape: tuple[int, ...], aspect: tuple[int, int]) -> tuple[int, int] | None:
    if len(shape) != 4:
        return None
    size = (shape[1], shape[2]) if _channels_last(shape, aspect) else (shape[2], shape[3])
    return None if size == (1, 1) else size


def _channels_last(shape: tuple[int, ...], aspect: tuple[int, int]) -> bool:
    """Tell [n, h, w, c] from [n, c, h, w] by which two sizes fit the picture's aspect better."""
    ratio = aspect[0] / aspect[1]
    last = abs(shape[1] / shape[2] - ratio)
    first = abs(shape[2] / shape[3] - ratio)
    return last < first


def _spread(names: list[str]) -> list[str]:
    """Thin a long list of names evenly."""
    step = -(-len(names) // _CANDIDATES_SHOWN) or 1
    return names[::step]


@contextmanager
def _hooked(handles: Any) -> Iterator[None]:
    kept = list(handles)
    try:
        yield
    finally:
        for handle in kept:
            handle.remove()
