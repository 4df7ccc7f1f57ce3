"""Image files are capped before they are decoded, and each refusal says why."""

from __future__ import annotations

import io
import tracemalloc
import zlib
from struct import pack

import numpy as np
import pytest
from PIL import Image

from monitor.errors import ImageRefused
from monitor.faces import images
from monitor.faces.images import decode_image


def png_of(width: int, height: int) -> bytes:
    """A black one-bit PNG; a few kB whatever its size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return pack("!I", len(content)) + kind + content + pack("!I", zlib.crc32(kind + content))

    rows = zlib.compress(bytes(1 + -(-width // 8)) * height, 9)
    header = pack("!IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def file_of(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_common_kinds_are_read_as_bgr(kind: str) -> None:
    picture = decode_image(file_of(Image.new("RGB", (40, 30), (255, 0, 0)), kind))
    assert picture.shape == (30, 40, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_allclose(picture[15, 20], [0, 0, 255], atol=6)


def test_a_photo_is_turned_as_its_exif_orientation_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_image(file_of(Image.new("RGB", (40, 30)), "JPEG", exif=exif)).shape == (40, 30, 3)


def test_a_grey_or_transparent_picture_has_three_channels() -> None:
    for mode in ("L", "RGBA", "P"):
        assert decode_image(file_of(Image.new(mode, (8, 8)), "PNG")).shape == (8, 8, 3)


@pytest.mark.parametrize(("width", "height"), [(12000, 12000), (30000, 30000)])
def test_a_small_file_of_very_many_pixels_is_refused_before_it_is_decoded(width: int, height: int) -> None:
    data = png_of(width, height)
    assert len(data) < 200_000
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    try:
        with pytest.raises(ImageRefused, match=r"at most 25\b"):
            decode_image(data)
        assert tracemalloc.get_traced_memory()[1] - before < 5_000_000
    finally:
        tracemalloc.stop()


def test_the_refusal_of_a_large_picture_names_its_size() -> None:
    with pytest.raises(ImageRefused, match="12000 x 12000, 144 megapixels"):
        decode_image(png_of(12000, 12000))


def test_a_picture_just_under_the_cap_is_read() -> None:
    assert decode_image(png_of(5000, 5000)).shape == (5000, 5000, 3)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"just some text\n" * 100, "none of JPEG"),
        (b"%PDF-1.7 not a picture", "none of JPEG"),
        (png_of(64, 64)[:20], "none of JPEG|header is broken"),
        (png_of(64, 64)[:60] + b"\0" * 200, "broken"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 64, "none of JPEG|broken"),
        (b"\0" * (images.MOST_BYTES + 1), "at most 20000000"),
    ],
)
def test_what_is_no_picture_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ImageRefused, match=reason):
        decode_image(data)
