"""The 720p pictures that the bench of face analysis looks at, made of the portraits that ship."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from monitor.demo.portraits import BIDEN, OBAMA_OFFICIAL, OBAMA_SENATE, Portrait

Picture = NDArray[np.uint8]

WIDTH, HEIGHT = 1280, 720
FACE_PX = 200.0
"""Height of every face: a presenter's, from head to waist."""
CROWD = 4
"""Faces in the crowded picture."""

_PORTRAITS = (OBAMA_OFFICIAL, OBAMA_SENATE, BIDEN)
_BACKDROP_CELLS = (8, 5)


def single_pictures() -> list[Picture]:
    """One presenter each; BGR, shape (720, 1280, 3).

    :raises ImageRefused: when a portrait cannot be read.
    """
    return [_room([portrait]) for portrait in _PORTRAITS]


def crowded_picture() -> Picture:
    """``CROWD`` presenters beside each other; BGR, shape (720, 1280, 3).

    :raises ImageRefused: when a portrait cannot be read.
    """
    return _room([_PORTRAITS[number % len(_PORTRAITS)] for number in range(CROWD)])


def _room(portraits: Sequence[Portrait]) -> Picture:
    """The portraits in columns of one width, over a blurred enlargement of the first."""
    backdrop = cv2.resize(portraits[0].read(), _BACKDROP_CELLS, interpolation=cv2.INTER_AREA)
    room = np.asarray(cv2.resize(backdrop, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), np.uint8)
    column = WIDTH // CROWD
    first = (WIDTH - column * len(portraits)) // 2
    for number, portrait in enumerate(portraits):
        left = first + number * column
        room[:, left : left + column] = _standing(portrait, column, room[:, left : left + column])
    return room


def _standing(portrait: Portrait, width: int, behind: Picture) -> Picture:
    """The portrait in a column, its face ``FACE_PX`` high in the upper middle; what it leaves free is ``behind``."""
    face = portrait.face
    scale = FACE_PX / face.height
    x, y = (face.x1 + face.x2) / 2, (face.y1 + face.y2) / 2
    matrix = np.array([[scale, 0, width / 2 - x * scale], [0, scale, HEIGHT / 3 - y * scale]])
    canvas = np.ascontiguousarray(behind)
    warped = cv2.warpAffine(
        portrait.read(),
        matrix,
        (width, HEIGHT),
        dst=canvas,
        flags=cv2.INTER_AREA,
        borderMode=cv2.BORDER_TRANSPARENT,
    )
    return np.asarray(warped, np.uint8)
