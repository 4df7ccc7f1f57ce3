"""Transformations that move the face: what re-uploaders do to a picture's frame. Pure functions of a shot."""

from __future__ import annotations

import cv2
import numpy as np

from monitor.evaluation.shot import Picture, Shot, mapped, warped

_SHELF = ((196, 206, 214), (92, 120, 168), (120, 152, 92), (150, 104, 110), (84, 148, 176))
"""Blue, green, red: a wall, and four kinds of goods on it."""


def scaled(shot: Shot, height: int) -> Shot:
    """The whole picture at another height; both sides stay even, as encoders want them."""
    factor = height / shot.height
    width = 2 * round(shot.width * factor / 2)
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    picture = cv2.resize(shot.picture, (width, height), interpolation=interpolation)
    return Shot(
        picture=np.asarray(picture, np.uint8),
        landmarks=shot.landmarks * np.array([width / shot.width, factor]),
    )


def cropped(shot: Shot, share: float) -> Shot:
    """A window of ``share`` of both sides about the face, as far as the picture reaches, enlarged to its size."""
    size = np.array([shot.width, shot.height]) * share
    corner = np.clip(shot.nose - size / 2, 0, np.array([shot.width, shot.height]) - size)
    matrix = np.array([[1 / share, 0, -corner[0] / share], [0, 1 / share, -corner[1] / share]])
    return warped(shot, matrix, shot.width, shot.height)


def cut_off(shot: Shot, units: float) -> Shot:
    """The picture moved down until its bottom edge runs ``units`` eye-to-mouth distances below the eyes."""
    down = shot.height - (shot.eyes[1] + units * shot.unit)
    return warped(shot, np.array([[1.0, 0, 0], [0, 1, down]]), shot.width, shot.height)


def rotated(shot: Shot, degrees: float) -> Shot:
    """Turned about the picture's middle, counter-clockwise."""
    middle = ((shot.width - 1) / 2, (shot.height - 1) / 2)
    matrix = np.asarray(cv2.getRotationMatrix2D(middle, degrees, 1.0), np.float64)
    return warped(shot, matrix, shot.width, shot.height)


def in_border(shot: Shot, share: float) -> Shot:
    """Shrunk to ``share`` of both sides in the middle of a coloured frame, as video templates do."""
    frame = np.empty_like(shot.picture)
    frame[:] = np.linspace((180, 60, 200), (60, 170, 240), shot.width).astype(np.uint8)
    return _laid(shot, frame, share, at=(0.5, 0.5))


def far_away(shot: Shot, share: float) -> Shot:
    """Shrunk to ``share`` of both sides, over its own blurred enlargement."""
    small = cv2.resize(shot.picture, (32, 18), interpolation=cv2.INTER_AREA)
    blurred = cv2.resize(cv2.GaussianBlur(small, (0, 0), 4), (shot.width, shot.height), interpolation=cv2.INTER_CUBIC)
    return _laid(shot, np.asarray(blurred, np.uint8), share, at=(0.5, 0.5))


def picture_in_picture(shot: Shot, share: float) -> Shot:
    """Shrunk to ``share`` of both sides in the upper right corner of a picture of goods on shelves."""
    return _laid(shot, shelves(shot.width, shot.height), share, at=(0.96, 0.06))


def shelves(width: int, height: int) -> Picture:
    """Goods on shelves; nobody in it."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = _SHELF[0]
    step_x, step_y = width // 10, height // 5
    for row in range(5):
        for column in range(10):
            corner = (column * step_x + step_x // 5, row * step_y + step_y // 4)
            opposite = (corner[0] + step_x // 2, row * step_y + step_y - 8)
            cv2.rectangle(picture, corner, opposite, _SHELF[1 + (3 * row + column) % 4], -1)
        cv2.line(picture, (0, (row + 1) * step_y - 6), (width, (row + 1) * step_y - 6), (70, 80, 90), 4)
    return picture


def _laid(shot: Shot, ground: Picture, share: float, *, at: tuple[float, float]) -> Shot:
    """The shrunk shot on ``ground`` (of its size); ``at``: which share of the free space lies left and above."""
    width, height = max(1, round(shot.width * share)), max(1, round(shot.height * share))
    left, top = round((shot.width - width) * at[0]), round((shot.height - height) * at[1])
    picture = ground.copy()
    picture[top : top + height, left : left + width] = cv2.resize(
        shot.picture, (width, height), interpolation=cv2.INTER_AREA
    )
    matrix = np.array([[width / shot.width, 0, left], [0, height / shot.height, top]])
    return Shot(picture=picture, landmarks=mapped(shot.landmarks, matrix))
