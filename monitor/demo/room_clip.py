"""Makes clips of a live-commerce room from one portrait: a moving, noisy camera under a shop's overlay."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from monitor.demo.clip import FPS, GOP_S, HEIGHT, SECONDS, WIDTH, Picture, write_clip
from monitor.demo.portraits import Portrait
from monitor.demo.shop_overlay import Shop, ShopOverlay

FACE_HEIGHT = 130.0
"""Mean height of the face on screen, pixels; the camera's zoom moves it by 9 % up and down."""

_ZOOM = 0.09
_PAN_PX = 7.0
_TILT_DEGREES = 2.2
_WINDOW_WIDTH = 248
"""Width of the portrait camera picture in the middle; beside it stands its blurred enlargement."""
_FACE_AT = (WIDTH / 2, 112.0)
_NOISE_SIGMA = 3.5
_NOISE_FIELDS = 6


def make_room_clip(path: Path, portrait: Portrait, shop: Shop, seconds: float = SECONDS) -> None:
    """Write a clip of ``portrait``'s face before the camera, about 118 to 142 px high.

    Camera motion and chat repeat with the clip, so that it can be looped without a jump.

    :raises ImageRefused: when the portrait cannot be read.
    """
    write_clip(path, dress(portrait_pictures(portrait, seconds), shop, round(seconds * FPS)))


def appearing_clip(path: Path, portrait: Portrait, shop: Shop, *, seconds_before: float, seconds_after: float) -> float:
    """Write a clip that shows no face first and then ``portrait``'s.

    The cut is no keyframe unless ``seconds_before`` is a multiple of the 2 s GOP, as in a real room.

    :return: stream time in seconds of the first picture with the face; exact, a multiple of 1/15 s.
    :raises ImageRefused: when the portrait cannot be read.
    :raises ValueError: when the whole does not last a multiple of the GOP, so that it could not be looped.
    """
    before, after = round(seconds_before * FPS), round(seconds_after * FPS)
    if before < 1 or after < 1 or (before + after) % (GOP_S * FPS):
        raise ValueError(f"the clip must last a multiple of {GOP_S} s: {seconds_before} s + {seconds_after} s do not")

    def pictures() -> Iterator[Picture]:
        backdrop = blurred_backdrop(portrait.read())
        for _ in range(before):
            yield backdrop.copy()
        yield from portrait_pictures(portrait, after / FPS)

    write_clip(path, dress(pictures(), shop, before + after))
    return before / FPS


def portrait_pictures(portrait: Portrait, seconds: float) -> Iterator[Picture]:
    """The portrait as a hand-held camera would show it, 15 pictures a second, 360 x 640 x 3, BGR uint8."""
    photo = portrait.read()
    face = portrait.face
    backdrop = blurred_backdrop(photo)
    scale = FACE_HEIGHT / face.height
    centre = ((face.x1 + face.x2) / 2, (face.y1 + face.y2) / 2)
    # Shrinking by area first keeps the warp from aliasing.
    photo = np.asarray(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    centre = (centre[0] * scale, centre[1] * scale)
    left = (WIDTH - _WINDOW_WIDTH) // 2
    count = round(seconds * FPS)
    for index in range(count):
        motion = _camera(centre, index / count)
        motion[0, 2] -= left
        picture = backdrop.copy()
        picture[:, left : left + _WINDOW_WIDTH] = cv2.warpAffine(
            photo, motion, (_WINDOW_WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        yield picture


def _camera(centre: tuple[float, float], phase: float) -> NDArray[np.float64]:
    """The (2, 3) matrix that brings ``centre`` to its place on screen; periodic in ``phase``, 0 to 1."""
    turn = 2 * math.pi * phase
    zoom = 1 + _ZOOM * math.sin(turn)
    angle = _TILT_DEGREES * math.sin(2 * turn + 0.6)
    motion = cv2.getRotationMatrix2D(centre, angle, zoom)
    motion[0, 2] += _FACE_AT[0] - centre[0] + _PAN_PX * math.sin(3 * turn)
    motion[1, 2] += _FACE_AT[1] - centre[1] + 0.6 * _PAN_PX * math.sin(2 * turn)
    return np.asarray(motion, np.float64)


def blurred_backdrop(picture: Picture) -> Picture:
    """``picture`` enlarged over the whole screen, dark and blurred until no face is left in it."""
    height, width = picture.shape[:2]
    scale = max(WIDTH / width, HEIGHT / height)
    large = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    top, left = (large.shape[0] - HEIGHT) // 2, (large.shape[1] - WIDTH) // 2
    blurred = cv2.GaussianBlur(large[top : top + HEIGHT, left : left + WIDTH], (0, 0), 28)
    return np.asarray(cv2.convertScaleAbs(blurred, alpha=0.6), np.uint8)


def dress(pictures: Iterator[Picture], shop: Shop, count: int) -> Iterator[Picture]:
    """Flicker, sensor noise and the shop's overlay on each of ``count`` pictures; the same on every run."""
    random = np.random.default_rng(7)
    fields = [
        np.clip(random.normal(128, _NOISE_SIGMA, (HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8)
        for _ in range(_NOISE_FIELDS)
    ]
    overlay = ShopOverlay(shop)
    for index, picture in enumerate(pictures):
        gain = 1 + 0.03 * math.sin(2 * math.pi * 5 * index / count) + random.normal(0, 0.008)
        lit = cv2.convertScaleAbs(picture, alpha=gain)
        noisy = np.asarray(cv2.addWeighted(lit, 1, fields[random.integers(_NOISE_FIELDS)], 1, -128), np.uint8)
        overlay.draw(noisy, index / count)
        yield noisy
