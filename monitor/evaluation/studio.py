"""Makes a recording out of one photo: a hand-held camera with a noisy sensor before the person, or before a double
who wears their face."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from monitor.demo.carphone import carphone_pictures
from monitor.demo.face_swap import HEAD_SIZE, face_mask, find_landmarks, smoothed, swap_face
from monitor.errors import MonitorError
from monitor.evaluation.shot import Landmarks, Picture, Shot, mapped
from monitor.faces.detect import Detector
from monitor.faces.face import Box

WIDTH = 1280
HEIGHT = 720
FPS = 10
SECONDS = 6.0

FACE_SHARE = 0.3
"""Height of the face as a share of the picture's; the camera's zoom moves it by 9 % up and down."""

_ZOOM = 0.09
_PAN_PX = 14.0
_TILT_DEGREES = 2.2
_FACE_AT = (WIDTH / 2, 0.4 * HEIGHT)
_PERIOD_S = 6.0
_NOISE_SIGMA = 3.5
_NOISE_FIELDS = 6
_AROUND = (1.5, 1.1, 1.5, 2.0)
"""How much of a photo is shown left, above, right and below of the face's middle, in heights of the face."""
_SWAP_PX = 165.0
"""Height to which a face is brought before it is laid on the sample clip's head: about that of the head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sitter:
    """A decoded photo, and where its face is."""

    picture: Picture = field(repr=False)
    box: Box
    landmarks: Landmarks = field(repr=False)

    def at_height(self, face_px: float) -> Sitter:
        """The photo scaled until its face is ``face_px`` high; shrinking by area keeps later warps from aliasing."""
        scale = face_px / max(1.0, self.box.height)
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        picture = cv2.resize(self.picture, None, fx=scale, fy=scale, interpolation=interpolation)
        box = Box(x1=self.box.x1 * scale, y1=self.box.y1 * scale, x2=self.box.x2 * scale, y2=self.box.y2 * scale)
        return Sitter(picture=np.asarray(picture, np.uint8), box=box, landmarks=self.landmarks * scale)

    def close(self) -> Sitter:
        """The face with its surroundings, without whoever stands farther off."""
        height = self.box.height
        x, y = (self.box.x1 + self.box.x2) / 2, (self.box.y1 + self.box.y2) / 2
        left, top = (max(0, int(value)) for value in (x - _AROUND[0] * height, y - _AROUND[1] * height))
        right, bottom = int(x + _AROUND[2] * height) + 1, int(y + _AROUND[3] * height) + 1
        corner = np.array([left, top])
        box = Box(x1=self.box.x1 - left, y1=self.box.y1 - top, x2=self.box.x2 - left, y2=self.box.y2 - top)
        return Sitter(picture=self.picture[top:bottom, left:right], box=box, landmarks=self.landmarks - corner)


def recorded(sitter: Sitter, seconds: float = SECONDS) -> list[Shot]:
    """What the camera sees of the sitter, ``FPS`` pictures a second, 720 x 1280 x 3."""
    shown = sitter.close().at_height(FACE_SHARE * HEIGHT)
    centre = ((shown.box.x1 + shown.box.x2) / 2, (shown.box.y1 + shown.box.y2) / 2)
    ground = _backdrop(shown.picture)
    count = round(seconds * FPS)
    motions = (_camera(centre, index / FPS / _PERIOD_S) for index in range(count))
    shots = (_staged(shown.picture, shown.landmarks, motion, ground) for motion in motions)
    return list(_sensed(shots, count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Double:
    """The moving head of the sample clip, on which faces are laid."""

    heads: Sequence[Picture] = field(repr=False)
    """Forward in time, each 360 x 440 x 3."""
    places: Sequence[Landmarks] = field(repr=False)


def find_double(detector: Detector, seconds: float = SECONDS) -> Double:
    """The sample clip's head for a recording of ``seconds``.

    :raises MonitorError: the sample clip is not installed; names the remedy.
    """
    heads = carphone_pictures(max(2, round(seconds * FPS) // 2), *HEAD_SIZE)
    return Double(heads=heads, places=smoothed([find_landmarks(detector, head) for head in heads]))


def swapped(sitter: Sitter, double: Double) -> list[Shot]:
    """The sitter's face on the double's head, which moves forward and back again.

    :raises MonitorError: the photo shows too little of the face to be cut out.
    """
    face = sitter.close().at_height(_SWAP_PX)
    try:
        mask = face_mask(face.picture, face.landmarks)
        heads = [
            swap_face(face.picture, mask, face.landmarks, head, place)
            for head, place in zip(double.heads, double.places, strict=True)
        ]
    except (cv2.error, ValueError) as err:
        raise MonitorError("its face cannot be cut out for a swap") from err
    scale = FACE_SHARE * HEIGHT / _SWAP_PX
    corner = np.array([(WIDTH - HEAD_SIZE[0] * scale) / 2, (HEIGHT - HEAD_SIZE[1] * scale) / 2])
    matrix = np.array([[scale, 0, corner[0]], [0, scale, corner[1]]])
    ground = _backdrop(heads[0])
    there = list(zip(heads, double.places, strict=True))
    shots = (_staged(head, place, matrix, ground) for head, place in [*there, *reversed(there)])
    return list(_sensed(shots, 2 * len(there)))


def _staged(picture: Picture, landmarks: Landmarks, matrix: NDArray[np.float64], ground: Picture) -> Shot:
    """``picture`` moved by ``matrix``, shape (2, 3), over ``ground``."""
    shown = cv2.warpAffine(
        picture, matrix, (WIDTH, HEIGHT), dst=ground.copy(), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT
    )
    return Shot(picture=np.asarray(shown, np.uint8), landmarks=mapped(landmarks, matrix))


def _camera(centre: tuple[float, float], phase: float) -> NDArray[np.float64]:
    """The (2, 3) matrix that brings ``centre`` to its place on screen; periodic in ``phase``, 0 to 1."""
    turn = 2 * math.pi * phase
    motion = cv2.getRotationMatrix2D(centre, _TILT_DEGREES * math.sin(2 * turn + 0.6), 1 + _ZOOM * math.sin(turn))
    motion[0, 2] += _FACE_AT[0] - centre[0] + _PAN_PX * math.sin(3 * turn)
    motion[1, 2] += _FACE_AT[1] - centre[1] + 0.6 * _PAN_PX * math.sin(2 * turn)
    return np.asarray(motion, np.float64)


def _backdrop(picture: Picture) -> Picture:
    """``picture`` over the whole screen, dark and blurred until no face is left in it."""
    small = cv2.GaussianBlur(cv2.resize(picture, (64, 36), interpolation=cv2.INTER_AREA), (0, 0), 6)
    large = cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.convertScaleAbs(large, alpha=0.6), np.uint8)


def _sensed(shots: Iterable[Shot], count: int) -> Iterator[Shot]:
    """Flicker and the sensor's noise on each of ``count`` pictures; the same on every run."""
    random = np.random.default_rng(7)
    fields = [
        np.clip(random.normal(128, _NOISE_SIGMA, (HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8)
        for _ in range(_NOISE_FIELDS)
    ]
    for index, shot in enumerate(shots):
        gain = 1 + 0.03 * math.sin(2 * math.pi * 5 * index / count) + random.normal(0, 0.008)
        lit = cv2.convertScaleAbs(shot.picture, alpha=gain)
        noisy = cv2.addWeighted(lit, 1, fields[random.integers(_NOISE_FIELDS)], 1, -128)
        yield shot.with_picture(np.asarray(noisy, np.uint8))
