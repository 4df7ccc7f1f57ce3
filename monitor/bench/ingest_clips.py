"""The clips that the ingest bench publishes: one moving scene at three heights, as a room's transcoder offers it."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from monitor.demo.clip import Picture
from monitor.demo.clip_cache import cached_clip
from monitor.demo.portraits import OBAMA_SENATE

FPS = 25
GOP_S = 2
SECONDS = 8

_ENLARGED = 1.15
"""How much larger than the screen the photo is, so that it can move."""
_NOISE_SIGMA = 4.0
_NOISE_FIELDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """One size of the room."""

    width: int
    height: int
    bit_rate: int
    """Bits a second."""


RENDITIONS = (
    Rendition(width=640, height=360, bit_rate=500_000),
    Rendition(width=854, height=480, bit_rate=900_000),
    Rendition(width=1280, height=720, bit_rate=1_800_000),
)
TALLEST = RENDITIONS[-1]


async def make_renditions(cache_dir: Path) -> Mapping[int, Path]:
    """Height to clip file; made now where ``cache_dir`` does not hold it.

    :raises MonitorError: when the folder cannot be used.
    """

    def one(rendition: Rendition) -> Path:
        return cached_clip(
            cache_dir / "clips",
            f"ingest-{rendition.height}",
            inputs=[OBAMA_SENATE.path, Path(__file__)],
            settings=repr(rendition),
            make=lambda path: write_rendition(path, rendition),
        )

    paths = await asyncio.gather(*(asyncio.to_thread(one, rendition) for rendition in RENDITIONS))
    return {rendition.height: path for rendition, path in zip(RENDITIONS, paths, strict=True)}


def write_rendition(path: Path, rendition: Rendition) -> None:
    """Encode ``SECONDS`` of H.264 with a keyframe every ``GOP_S`` and nowhere else; appears only when complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with av.open(str(partial), "w", format="mp4") as output:
            stream = output.add_stream("libx264", rate=FPS, options=_x264(rendition))
            stream.width, stream.height, stream.pix_fmt = rendition.width, rendition.height, "yuv420p"
            stream.bit_rate, stream.gop_size = rendition.bit_rate, GOP_S * FPS
            for index, picture in enumerate(_pictures(rendition)):
                frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
                frame.pts, frame.time_base = index, Fraction(1, FPS)
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _x264(rendition: Rendition) -> dict[str, str]:
    keyint = GOP_S * FPS
    return {
        "preset": "veryfast",
        "profile": "main",
        "bf": "2",
        "maxrate": str(rendition.bit_rate),
        "bufsize": str(rendition.bit_rate),
        "x264-params": f"keyint={keyint}:min-keyint={keyint}:scenecut=0:open-gop=0",
    }


def _pictures(rendition: Rendition) -> Iterator[Picture]:
    """A photo before a restless, noisy camera; the motion ends where it began."""
    photo = OBAMA_SENATE.read()
    height, width = photo.shape[:2]
    size = (rendition.width, rendition.height)
    scale = max(size[0] / width, size[1] / height) * _ENLARGED
    random = np.random.default_rng(7)
    noise = [
        np.clip(random.normal(128, _NOISE_SIGMA, (size[1], size[0], 3)), 0, 255).astype(np.uint8)
        for _ in range(_NOISE_FIELDS)
    ]
    for index in range(SECONDS * FPS):
        turn = 2 * math.pi * index / (SECONDS * FPS)
        # The face stands in the upper third of the photo.
        motion = cv2.getRotationMatrix2D(
            (width / 2, height / 3), 2 * math.sin(2 * turn), scale * (1 + 0.05 * math.sin(turn))
        )
        motion[0, 2] += size[0] / 2 - width / 2 + 0.023 * size[0] * math.sin(3 * turn)
        motion[1, 2] += size[1] / 2 - height / 3 + 0.011 * size[1] * math.sin(2 * turn)
        moved = cv2.warpAffine(photo, motion, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT)
        yield np.asarray(cv2.addWeighted(moved, 1, noise[random.integers(_NOISE_FIELDS)], 1, -128), np.uint8)
