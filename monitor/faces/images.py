"""Opens image files that somebody else made: their size is capped before a pixel is decoded."""

from __future__ import annotations

import io
import warnings

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from monitor.errors import ImageRefused

MOST_BYTES = 20_000_000
"""Larger image files are refused."""

MOST_PIXELS = 25_000_000
"""Pictures that declare more pixels are refused: 17 kB of PNG can hold 144 megapixels."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")


def decode_image(data: bytes) -> NDArray[np.uint8]:
    """The picture in an image file, turned as its EXIF orientation says.

    :return: shape (H, W, 3), BGR.
    :raises ImageRefused: if it is empty, too large, of another kind or broken; says which.
    """
    if not data:
        raise ImageRefused("the file is empty")
    if len(data) > MOST_BYTES:
        raise ImageRefused(f"the file has {len(data)} bytes, at most {MOST_BYTES} are read")
    width, height = _declared_size(data)
    if width * height > MOST_PIXELS:
        raise ImageRefused(
            f"the picture is {width} x {height}, {width * height / 1e6:.0f} megapixels; "
            f"at most {MOST_PIXELS / 1e6:.0f} are read"
        )
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ImageRefused("the picture's data is broken") from error
    if picture is None:
        raise ImageRefused("the picture's data is broken")
    return np.asarray(picture, dtype=np.uint8)


def _declared_size(data: bytes) -> tuple[int, int]:
    """Width and height that the header declares; no pixel is decoded."""
    try:
        with warnings.catch_warnings():
            # Pillow's own limit is looser than ours, and only warns.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return image.size
    except Image.DecompressionBombError as error:
        raise ImageRefused(f"the picture is too large; at most {MOST_PIXELS / 1e6:.0f} megapixels are read") from error
    except UnidentifiedImageError as error:
        raise ImageRefused(f"the file is none of {', '.join(FORMATS)}") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise ImageRefused("the picture's header is broken") from error
