"""Bad uploads are refused by cause; odd but sound ones are decoded as training decoded them."""

import struct
import warnings
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from reference_data.errors import InputRejected, RejectionCause
from reference_data.preprocess import (
    USUAL_MODES,
    DecodeLimits,
    Preprocessing,
    check_tensor,
    decode,
    prepare,
)
from reference_data.steps import CropOrPad, Normalize, RequireSize, Resize, SampleGrid, ToFloat
from tests.reference_data.odd_pictures import (
    SERVED,
    animated,
    encoded,
    noise,
    png_of_size,
    sixteen_bits,
)

COLOUR = Preprocessing(
    mode="RGB",
    steps=(
        Resize(width=16, height=12, method="crop"),
        ToFloat(),
        Normalize(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)),
    ),
)
LIMITS = DecodeLimits()
JPEG, PNG = encoded(noise(), "JPEG"), encoded(noise(), "PNG")

REFUSED: dict[str, tuple[RejectionCause, Callable[[], bytes]]] = {
    "nothing": (RejectionCause.EMPTY, lambda: b""),
    "text": (RejectionCause.NOT_AN_IMAGE, lambda: b"GET / HTTP/1.1 " * 20),
    "a PDF": (RejectionCause.NOT_AN_IMAGE, lambda: b"%PDF-1.7\n" + b"0" * 500),
    "PostScript": (RejectionCause.NOT_AN_IMAGE, lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n" * 9),
    "an icon": (RejectionCause.NOT_AN_IMAGE, lambda: encoded(noise(16, 16), "ICO")),
    "half a JPEG": (RejectionCause.TRUNCATED, lambda: JPEG[: len(JPEG) // 2]),
    "half a PNG": (RejectionCause.TRUNCATED, lambda: PNG[: len(PNG) // 2]),
    "a JPEG's first bytes": (RejectionCause.TRUNCATED, lambda: JPEG[:20]),
    "half a GIF": (RejectionCause.TRUNCATED, lambda: encoded(noise(), "GIF")[:900]),
    "half a WebP": (RejectionCause.TRUNCATED, lambda: encoded(noise(), "WEBP")[:300]),
    "half a TIFF": (RejectionCause.TRUNCATED, lambda: encoded(noise(), "TIFF")[:900]),
    "a bomb": (RejectionCause.TOO_MANY_PIXELS, lambda: png_of_size(9_000, 9_000)),
    "a bomb Pillow warns of": (RejectionCause.TOO_MANY_PIXELS, lambda: png_of_size(11_000, 11_000)),
    "a bomb Pillow refuses": (RejectionCause.TOO_MANY_PIXELS, lambda: png_of_size(60_000, 60_000)),
    "no width": (RejectionCause.ZERO_SIZE, lambda: png_of_size(0, 20)),
    "no height": (RejectionCause.ZERO_SIZE, lambda: png_of_size(20, 0)),
    "an animated GIF": (RejectionCause.ANIMATED, lambda: animated("GIF")),
    "an animated WebP": (RejectionCause.ANIMATED, lambda: animated("WEBP")),
    "an animated PNG": (RejectionCause.ANIMATED, lambda: animated("PNG")),
    "a TIFF of several pages": (RejectionCause.ANIMATED, lambda: animated("TIFF")),
    "16 bits": (RejectionCause.UNTRAINED_MODE, sixteen_bits),
    "32 bits": (
        RejectionCause.UNTRAINED_MODE,
        lambda: encoded(Image.fromarray(np.ones((9, 9), np.float32)), "TIFF"),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_upload_is_refused_by_cause(name: str) -> None:
    cause, data = REFUSED[name]
    with pytest.raises(InputRejected) as rejected:
        decode(data(), COLOUR, LIMITS)
    assert rejected.value.cause is cause
    assert len(str(rejected.value)) > 20


def test_too_many_bytes_are_refused_before_anything_is_read() -> None:
    with pytest.raises(InputRejected) as rejected:
        decode(b"\0" * 101, COLOUR, DecodeLimits(max_bytes=100))
    assert rejected.value.cause is RejectionCause.TOO_MANY_BYTES


@pytest.mark.parametrize("name", SERVED)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_an_odd_picture_is_decoded_as_pillow_converts_it(name: str, mode: str) -> None:
    wanted = Preprocessing(mode="L" if mode == "L" else "RGB", steps=COLOUR.steps[:2])
    ours = decode(SERVED[name], wanted, LIMITS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = Image.open(BytesIO(SERVED[name]))
        image.load()
        theirs = image.convert(mode)
    assert ours.mode == mode
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_the_orientation_in_exif_is_ignored() -> None:
    assert decode(SERVED["JPEG turned by EXIF"], COLOUR, LIMITS).size == noise().size


def test_sixteen_bits_are_served_where_training_had_them() -> None:
    trained = Preprocessing(mode="L", accepted_modes=(*USUAL_MODES, "I;16"), steps=COLOUR.steps[:2])
    assert decode(sixteen_bits(), trained, LIMITS).mode == "L"


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(SERVED)),
    st.integers(0, 10_000),
    st.binary(min_size=1, max_size=12),
    st.integers(0, 10_000),
)
def test_damage_never_raises_anything_but_a_rejection(
    name: str, place: int, damage: bytes, length: int
) -> None:
    data = bytearray(SERVED[name])
    place %= len(data)
    data[place : place + len(damage)] = damage
    with warnings.catch_warnings():
        # Pillow remarks on odd metadata; that is not an answer to the client.
        warnings.simplefilter("ignore")
        try:
            image = decode(bytes(data[: max(1, length % len(data))]), COLOUR, LIMITS)
        except InputRejected:
            return
        assert image.mode == "RGB"


def test_truncated_pictures_are_never_padded() -> None:
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_a_prepared_picture_has_the_shape_the_model_takes() -> None:
    array = prepare(decode(JPEG, COLOUR, LIMITS), COLOUR)
    assert array.shape == COLOUR.shape == (3, 12, 16)
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    check_tensor(array[None], COLOUR)


def test_a_picture_of_another_size_is_refused_where_training_resized_nothing() -> None:
    fixed = Preprocessing(mode="L", steps=(RequireSize(width=8, height=8), ToFloat()))
    with pytest.raises(InputRejected, match="8×8") as rejected:
        prepare(Image.new("L", (9, 8)), fixed)
    assert rejected.value.cause is RejectionCause.WRONG_SHAPE


def test_a_picture_too_thin_to_crop_is_refused() -> None:
    wide = Preprocessing(mode="RGB", steps=(Resize(width=90, height=10, method="crop"), ToFloat()))
    with pytest.raises(InputRejected, match="too thin"):
        prepare(Image.new("RGB", (1, 1)), wide)


@pytest.mark.parametrize(
    ("array", "cause"),
    [
        (np.zeros((1, 3, 12, 16), np.float64), RejectionCause.WRONG_DTYPE),
        (np.zeros((1, 3, 12, 16), np.uint8), RejectionCause.WRONG_DTYPE),
        (np.zeros((3, 12, 16), np.float32), RejectionCause.WRONG_SHAPE),
        (np.zeros((0, 3, 12, 16), np.float32), RejectionCause.WRONG_SHAPE),
        (np.zeros((1, 3, 16, 12), np.float32), RejectionCause.WRONG_SHAPE),
        (np.zeros((1, 1, 12, 16), np.float32), RejectionCause.WRONG_SHAPE),
        (np.full((1, 3, 12, 16), np.nan, np.float32), RejectionCause.NOT_FINITE),
        (np.full((1, 3, 12, 16), np.inf, np.float32), RejectionCause.NOT_FINITE),
    ],
)
def test_a_tensor_the_model_cannot_take_is_refused(
    array: np.ndarray, cause: RejectionCause
) -> None:
    with pytest.raises(InputRejected) as rejected:
        check_tensor(array, COLOUR)
    assert rejected.value.cause is cause


@pytest.mark.parametrize(
    "steps",
    [
        (),
        (ToFloat(),),
        (Resize(width=8, height=8, method="crop"),),
        (ToFloat(), Resize(width=8, height=8, method="crop")),
        (CropOrPad(width=8, height=8), ToFloat(), ToFloat()),
        (SampleGrid(width=8, height=8), ToFloat()),
    ],
)
def test_steps_in_an_impossible_order_are_refused(steps: tuple[ToFloat, ...]) -> None:
    with pytest.raises(ValueError, match="preprocessing"):
        Preprocessing(mode="RGB", steps=steps)


def test_preprocessing_survives_json() -> None:
    assert Preprocessing.from_json(COLOUR.to_json()) == COLOUR


def test_an_unknown_step_in_json_is_refused() -> None:
    text = COLOUR.to_json().replace(b'"resize"', b'"rotate"')
    with pytest.raises(ValueError, match="rotate"):
        Preprocessing.from_json(text)


@pytest.mark.torch
@pytest.mark.parametrize("name", SERVED)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_an_odd_picture_is_decoded_as_fastai_opens_it(name: str, mode: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fastai.vision.core import PILImage, PILImageBW

        path = tmp_path / "picture"
        path.write_bytes(SERVED[name])
        theirs = (PILImageBW if mode == "L" else PILImage).create(path)
    wanted = Preprocessing(mode="L" if mode == "L" else "RGB", steps=COLOUR.steps[:2])
    ours = decode(SERVED[name], wanted, LIMITS)
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_a_picture_that_padding_would_blow_up_is_refused_before_it_is_decoded() -> None:
    padded = Preprocessing(mode="L", steps=(Resize(width=8, height=8, method="pad"), ToFloat()))
    limits = DecodeLimits(max_pixels=10_000)
    with pytest.raises(InputRejected, match="would be padded to 400×400 = 160,000") as refusal:
        decode(png_of_size(400, 4), padded, limits)
    assert refusal.value.cause is RejectionCause.TOO_MANY_PIXELS
    fitting = decode(encoded(noise(100, 60).convert("L"), "PNG"), padded, limits)
    assert prepare(fitting, padded).shape == (1, 8, 8)


def deep_png(colour_type: int, channels: int) -> bytes:
    """Write a PNG of 16 bits a channel, which Pillow reads and cannot write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 20, 20, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(20 * channels * 2) for _ in range(20))
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize(("colour_type", "channels", "mode"), [(2, 3, "RGB;16"), (6, 4, "RGBA;16")])
def test_colour_of_16_bits_is_served_only_where_training_had_it(
    colour_type: int, channels: int, mode: str
) -> None:
    data = deep_png(colour_type, channels)
    with pytest.raises(InputRejected, match=mode) as refusal:
        decode(data, COLOUR, DecodeLimits())
    assert refusal.value.cause is RejectionCause.UNTRAINED_MODE
    trained = Preprocessing(mode="RGB", accepted_modes=(*USUAL_MODES, mode), steps=COLOUR.steps)
    assert decode(data, trained, DecodeLimits()).mode == "RGB"
