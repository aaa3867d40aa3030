"""Pictures as the field sends them: every colour mode, rotated, animated, cut short, hostile."""

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image


def noise(width: int = 40, height: int = 24, seed: int = 0) -> Image.Image:
    """Make a colour picture without structure."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return the file a picture is saved as."""
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def rotated_by_exif() -> bytes:
    """Make a JPEG that asks to be shown upright after a quarter turn."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(noise(), "JPEG", exif=exif)


def palette_with_alpha() -> bytes:
    """Make a PNG with a palette and one opacity for each colour."""
    return encoded(noise().quantize(16), "PNG", transparency=bytes(range(0, 256, 16)))


def grey_with_key() -> bytes:
    """Make a grey PNG in which one level means transparent."""
    return encoded(noise().convert("L"), "PNG", transparency=7)


def sixteen_bits() -> bytes:
    """Make a grey PNG of 16 bits a pixel."""
    return encoded(Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100), "PNG")


def animated(kind: str) -> bytes:
    """Make a file of three frames."""
    frames = [noise(seed=seed) for seed in range(3)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:])


def two_in_one_jpeg() -> bytes:
    """Make a multi-picture JPEG, as phones with two lenses write."""
    return encoded(noise(), "MPO", save_all=True, append_images=[noise(seed=1)])


def png_of_size(width: int, height: int) -> bytes:
    """Make a small PNG whose header claims any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


SERVED: dict[str, bytes] = {
    "colour JPEG": encoded(noise(), "JPEG"),
    "grey JPEG": encoded(noise().convert("L"), "JPEG"),
    "CMYK JPEG": encoded(noise().convert("CMYK"), "JPEG"),
    "JPEG turned by EXIF": rotated_by_exif(),
    "progressive JPEG": encoded(noise(), "JPEG", progressive=True),
    "multi-picture JPEG": two_in_one_jpeg(),
    "colour PNG": encoded(noise(), "PNG"),
    "PNG with alpha": encoded(noise().convert("RGBA"), "PNG"),
    "grey PNG with alpha": encoded(noise().convert("LA"), "PNG"),
    "palette PNG": encoded(noise().quantize(16), "PNG"),
    "palette PNG with alpha": palette_with_alpha(),
    "grey PNG with a transparent level": grey_with_key(),
    "black and white PNG": encoded(noise().convert("1"), "PNG"),
    "still GIF": encoded(noise(), "GIF"),
    "GIF with transparency": encoded(noise().quantize(16), "GIF", transparency=3),
    "WebP": encoded(noise(), "WEBP", lossless=True),
    "WebP with alpha": encoded(noise().convert("RGBA"), "WEBP"),
    "BMP": encoded(noise(), "BMP"),
    "TIFF": encoded(noise(), "TIFF"),
    "CMYK TIFF": encoded(noise().convert("CMYK"), "TIFF", compression="tiff_lzw"),
    "YCbCr TIFF": encoded(noise().convert("YCbCr"), "TIFF"),
    "PPM": encoded(noise(), "PPM"),
    "one pixel": encoded(noise(1, 1), "PNG"),
    "one column": encoded(noise(1, 90), "PNG"),
}
"""Files that a Learner can be trained on and that are served as it decoded them."""
