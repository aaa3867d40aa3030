"""The Open Inference Protocol: reads `infer` requests, writes their answers and the metadata."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ValidationError

from inference.engine import Tensor
from inference.errors import Cause, Refused
from inference.predicting import Predicted, Target
from inference.schemas import InferAnswer, InferRequest, ModelMetadata, TensorMetadata, TensorOut
from inference.upload import Subject, label, segment_from, shown
from reference_data.bundle import Bundle
from reference_data.preprocess import check_tensor

IMAGE = "image"
TENSOR = "tensor"
_PARAMETERS = ("unit", "case_id", "segment")


@dataclass(frozen=True, slots=True)
class _Output:
    datatype: str
    value: Callable[[Predicted], Any]


_OUTPUTS = {
    "class": _Output("BYTES", lambda p: p.judged.scored.prediction),
    "probabilities": _Output("FP32", lambda p: p.judged.scored.probabilities.tolist()),
    "p_value": _Output("FP32", lambda p: p.judged.scored.p_value),
    "p_semantic": _Output("FP32", lambda p: p.judged.scored.p_semantic),
    "p_domain": _Output("FP32", lambda p: p.judged.scored.p_domain),
    "flagged": _Output("BOOL", lambda p: p.judged.scored.flagged),
    "event_id": _Output("BYTES", lambda p: p.event_id),
    "actor": _Output("BYTES", lambda p: p.actor.value),
    "reason": _Output("BYTES", lambda p: p.reason.value),
}


def parse_infer(content_type: str | None, body: bytes) -> InferRequest:
    """Read the JSON of an `infer` request.

    Raises
    ------
    Refused
        It is no such request, or has a field we do not know.
    """
    kind = (content_type or "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(
            Cause.UNSUPPORTED_MEDIA_TYPE,
            f"infer takes application/json, not {shown(kind)}; "
            "the binary tensor extension is not supported",
        )
    try:
        request = InferRequest.model_validate_json(body)
    except ValidationError as error:
        raise _refused(error) from error
    for wanted in request.outputs or []:
        if wanted.name not in _OUTPUTS:
            raise Refused(
                Cause.UNKNOWN_FIELD,
                f"there is no output {shown(wanted.name)}; the outputs are {', '.join(_OUTPUTS)}",
            )
    return request


def subject_of(request: InferRequest) -> Subject:
    """Read what the request says its inputs are about, from its parameters.

    Raises
    ------
    Refused
        There is a parameter we do not know, or a value we do not take.
    """
    given = request.parameters or {}
    for name in given:
        if name not in _PARAMETERS:
            raise Refused(
                Cause.UNKNOWN_FIELD,
                f"there is no parameter {shown(name)}; they are {', '.join(_PARAMETERS)}",
            )
    return Subject(
        unit=label("unit", given.get("unit")),
        case_id=label("case_id", given.get("case_id")),
        segment=segment_from(given.get("segment")),
    )


def sources_of(request: InferRequest, bundle: Bundle, max_items: int) -> "list[bytes | Tensor]":
    """Turn the request's one input into images or prepared tensors.

    Raises
    ------
    Refused, InputRejected
        Name, type, shape or contents are not what the model takes.
    """
    [tensor] = request.inputs
    datatypes = {IMAGE: "BYTES", TENSOR: "FP32"}
    if tensor.name not in datatypes:
        raise Refused(
            Cause.UNKNOWN_FIELD,
            f"there is no input {shown(tensor.name)}; send {IMAGE!r} (BYTES) or {TENSOR!r} (FP32)",
        )
    if tensor.datatype != datatypes[tensor.name]:
        raise Refused(
            Cause.WRONG_DTYPE,
            f"the input {tensor.name!r} is {datatypes[tensor.name]}, not {shown(tensor.datatype)}",
        )
    count = tensor.shape[0] if tensor.shape else 0
    if not 1 <= count <= max_items:
        raise Refused(
            Cause.WRONG_SHAPE,
            f"shape {tensor.shape} has {count} inputs; 1 to {max_items} are taken at a time",
        )
    if tensor.name == IMAGE:
        return _images(tensor.data, tensor.shape)
    return _tensors(tensor.data, tensor.shape, bundle)


def answer_infer(
    request: InferRequest, target: Target, predicted: Sequence[Predicted]
) -> InferAnswer:
    """Build the answer, with the outputs asked for, or all."""
    names = [wanted.name for wanted in request.outputs or []] or list(_OUTPUTS)
    return InferAnswer(
        model_name=target.snapshot.model,
        model_version=target.version,
        id=request.id,
        outputs=[_output(name, predicted) for name in names],
    )


def metadata_of(bundle: Bundle) -> ModelMetadata:
    """Say what a model takes and gives."""
    manifest = bundle.manifest
    shapes = {"probabilities": [-1, len(manifest.vocab)]}
    return ModelMetadata(
        name=manifest.name,
        versions=[manifest.version],
        platform="onnxruntime_onnx",
        inputs=[
            TensorMetadata(name=IMAGE, datatype="BYTES", shape=[-1]),
            TensorMetadata(name=TENSOR, datatype="FP32", shape=[-1, *manifest.preprocessing.shape]),
        ],
        outputs=[
            TensorMetadata(name=name, datatype=output.datatype, shape=shapes.get(name, [-1]))
            for name, output in _OUTPUTS.items()
        ],
    )


def _images(data: list[Any], shape: list[int]) -> "list[bytes | Tensor]":
    if shape not in ([len(data)], [len(data), 1]):
        raise Refused(
            Cause.WRONG_SHAPE, f"shape {shape} does not fit the {len(data)} elements of 'image'"
        )
    images: list[bytes | Tensor] = []
    for index, element in enumerate(data):
        try:
            images.append(base64.b64decode(element, validate=True))
        except (binascii.Error, ValueError, TypeError) as error:
            raise Refused(
                Cause.BAD_VALUE, f"element {index} of 'image' is not an image in base64"
            ) from error
    return images


def _tensors(data: list[Any], shape: list[int], bundle: Bundle) -> "list[bytes | Tensor]":
    expected = bundle.manifest.preprocessing.shape
    if tuple(shape[1:]) != expected:
        raise Refused(
            Cause.WRONG_SHAPE,
            f"'tensor' has shape {shape}; this model takes [n, {', '.join(map(str, expected))}]",
        )
    try:
        numbers = np.asarray(data)
    except ValueError as error:
        raise Refused(Cause.WRONG_SHAPE, "the data of 'tensor' is nested unevenly") from error
    # Text would be parsed into numbers, and objects are what no number type can hold.
    if numbers.dtype.kind not in "fiu":
        raise Refused(Cause.WRONG_DTYPE, "the data of 'tensor' must be numbers")
    if numbers.size != np.prod(shape, dtype=np.int64):
        raise Refused(
            Cause.WRONG_SHAPE, f"shape {shape} does not fit the {numbers.size} numbers of 'tensor'"
        )
    with np.errstate(over="ignore"):  # what overflows is refused as not finite
        batch = numbers.astype(np.float32).reshape(shape)
    check_tensor(batch, bundle.manifest.preprocessing)
    return list(batch)


def _output(name: str, predicted: Sequence[Predicted]) -> TensorOut:
    output = _OUTPUTS[name]
    values = [output.value(each) for each in predicted]
    shape = [len(values)]
    if values and isinstance(values[0], list):
        shape.append(len(values[0]))
        values = [number for row in values for number in row]
    return TensorOut(name=name, shape=shape, datatype=output.datatype, data=values)


def _refused(error: ValidationError) -> Refused:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the body"
    match first["type"]:
        case "extra_forbidden":
            return Refused(
                Cause.UNKNOWN_FIELD, f"there is no field {shown(where)} in an infer request"
            )
        case "missing":
            return Refused(Cause.MISSING_FIELD, f"the field {where} is missing")
        case "json_invalid":
            return Refused(Cause.MALFORMED, f"the body is not JSON: {first['msg']}")
        case _:
            return Refused(Cause.BAD_VALUE, f"{shown(where)}: {first['msg']}")
