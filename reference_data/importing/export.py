"""Export a model to ONNX with three outputs: logits, embedding, mid. Runs in the child only."""

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from typing_extensions import override

from reference_data.errors import ImportRefused
from reference_data.importing.layers import Head, pooled

OUTPUTS = ("logits", "embedding", "mid")
_MOST_BYTES = (2 << 30) - (1 << 20)
"""An ONNX file is one protobuf message, which ends at 2 GiB."""


class BodyFeatures(nn.Module):
    """A network that returns what its last layers begin with; they themselves are not exported."""

    def __init__(self, model: nn.Module, last: str) -> None:
        super().__init__()
        self.model = model
        self._seen: list[Tensor] = []
        self._handle = model.get_submodule(last).register_forward_pre_hook(self._keep_input)

    def close(self) -> None:
        """Leave the model as it was."""
        self._handle.remove()

    @override
    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures [n, c, h, w] to features [n, d], averaged over the picture."""
        self._seen.clear()
        self.model(pictures)
        return pooled(self._seen.pop(), (int(pictures.shape[-2]), int(pictures.shape[-1])))

    def _keep_input(self, _module: nn.Module, arguments: tuple[Any, ...]) -> None:
        self._seen.append(arguments[0])


class ThreeOutputs(nn.Module):
    """A model that also returns what its last layer saw and the features of a middle layer."""

    def __init__(self, model: nn.Module, head: Head, mid_layer: str) -> None:
        super().__init__()
        self.model = model
        self._seen: dict[str, Tensor] = {}
        model.get_submodule(head.name).register_forward_pre_hook(self._keep_input)
        model.get_submodule(mid_layer).register_forward_hook(self._keep_output)

    @override
    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map pictures [n, c, h, w] to logits [n, C], embedding [n, d] and mid [n, d_mid]."""
        aspect = (int(pictures.shape[-2]), int(pictures.shape[-1]))
        logits = self.model(pictures)
        embedding = pooled(self._seen.pop("embedding"), aspect)
        return logits, embedding, pooled(self._seen.pop("mid"), aspect)

    def _keep_input(self, _module: nn.Module, arguments: tuple[Any, ...]) -> None:
        self._seen["embedding"] = arguments[0]

    def _keep_output(self, _module: nn.Module, _arguments: Any, output: Tensor) -> None:
        self._seen["mid"] = output


def export(
    model: nn.Module, head: Head, mid_layer: str, inputs: Tensor, file: Path
) -> tuple[int, int]:
    """Write the model as one ONNX file with a free batch size.

    Parameters
    ----------
    inputs
        A real batch of two or more, [n, channels, height, width].

    Returns
    -------
    tuple[int, int]
        Lengths of an embedding and of the mid-layer features.

    Raises
    ------
    ImportRefused
        When torch cannot export the model, or it would not fit into one file.
    """
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    if size > _MOST_BYTES:
        raise ImportRefused(
            f"the model has {size / 2**30:.1f} GiB of weights; an ONNX file ends at 2 GiB. "
            "Import a smaller model."
        )
    _write(ThreeOutputs(model, head, mid_layer).eval(), OUTPUTS, inputs, file)
    _, embedding, mid = _widths(file)
    return embedding, mid


def export_features(features: BodyFeatures, inputs: Tensor, file: Path) -> int:
    """Write a body as one ONNX file; return the number of its features.

    Raises
    ------
    ImportRefused
        When torch cannot export it.
    """
    _write(features, ("mid",), inputs, file)
    (width,) = _widths(file)
    return width


def _write(wrapped: nn.Module, outputs: Sequence[str], inputs: Tensor, file: Path) -> None:
    chatter = io.StringIO()
    # The exporter reports its progress and its internals' deprecations on every stream there is.
    logging.disable(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(chatter),
            contextlib.redirect_stderr(chatter),
            torch.no_grad(),
        ):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                wrapped,
                (inputs,),
                str(file),
                input_names=["input"],
                output_names=list(outputs),
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ImportRefused(
            f"torch.export cannot turn the model into ONNX: {_gist(error, reason)}. Its forward "
            "must not branch on the values of its input or fix the batch size; change it, reload "
            "the weights, and export the Learner again."
        ) from error
    finally:
        logging.disable(logging.NOTSET)


def save_head(model: nn.Module, head: Head, file: Path) -> None:
    """Write weight [C, d] and bias [C] of a linear head, float32; zeros where it has no bias."""
    layer: Any = model.get_submodule(head.name)
    weight = layer.weight.detach().float().numpy()
    bias = np.zeros(len(weight), np.float32)
    if layer.bias is not None:
        bias = layer.bias.detach().float().numpy()
    np.savez(file, weight=weight, bias=bias)


def _widths(file: Path) -> tuple[int, ...]:
    """Read the outputs' widths from the file, and make sure that its batch size is free."""
    graph = onnx.load(file, load_external_data=False).graph
    batch = graph.input[0].type.tensor_type.shape.dim[0]
    if not batch.dim_param:
        raise ImportRefused(
            f"the exported model takes batches of exactly {batch.dim_value}: its forward "
            "fixes the batch size. Use x.shape[0] or -1 in its place, and export the Learner again."
        )
    return tuple(int(each.type.tensor_type.shape.dim[1].dim_value) for each in graph.output)


def _gist(error: BaseException, lines: list[str]) -> str:
    """Return the innermost reason: the exporter wraps it in advice about itself."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    inner = str(cause).strip().splitlines()
    return (inner or lines)[0][:300]
