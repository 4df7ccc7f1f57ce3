"""Finds the frame of a picture in picture: straight upright edges on the sides of a face."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from monitor.faces.face import Box

FRAMED_BESIDE = 1.3
"""A frame is looked for around a face beside one that is so many times as high. Beside a lower one it decides nothing:
a presence is an inset from 1.6 on, in the middle of all views."""
_REACH = 2.0
"""Face sizes from the face outwards within which an edge is looked for."""
_MARGIN = 0.1
"""Face sizes from the box outwards where no edge is expected: hair and chin."""
_STEP = 8
"""Least difference of brightness, 0 to 255, across an edge."""
_BESIDE = 0.5
"""Share of the face's height (or width) along which an edge's column (or row) must show it to be tried."""
_SUPPORT = 0.7
"""Share of its own length along which an edge must be seen. One of the four may be lost in what lies behind."""
_FOURTH = 0.5
"""What the worst seen edge counts beside the one before it."""
_TRIED = 8
"""Columns (or rows) on each side of the face that are tried, those with the most of an edge."""

_Sides = tuple[NDArray[np.intp], NDArray[np.intp]]


def inset_around(picture: NDArray[np.uint8], face: Box) -> Box | None:
    """The rectangle around ``face`` whose straight edges are seen best; None if there is none.

    An edge is one column (or row) in which brightness steps all along; an overlay's is exact to the pixel, a door's or
    a window's seldom. The picture's own border may stand for edges, but not for two that face each other.

    :param picture: shape (H, W, 3), BGR.
    """
    height, width = picture.shape[:2]
    left, right = max(0, int(face.x1 - _REACH * face.width)), min(width, int(face.x2 + _REACH * face.width))
    top, bottom = max(0, int(face.y1 - _REACH * face.height)), min(height, int(face.y2 + _REACH * face.height))
    grey = np.asarray(cv2.cvtColor(picture[top:bottom, left:right], cv2.COLOR_BGR2GRAY), np.uint8)
    rows = slice(max(0, int(face.y1) - top), int(face.y2) - top)
    columns = slice(max(0, int(face.x1) - left), int(face.x2) - left)
    if min(grey.shape) < 3 or rows.stop - rows.start < 1 or columns.stop - columns.start < 1:
        return None
    ends = (left == 0, right == width), (top == 0, bottom == height)
    upright = _tried(_steps(grey[rows], *ends[0]), columns)
    level = _tried(_steps(grey[:, columns].T, *ends[1]), rows)
    if not all(len(side) for side in (*upright, *level)):
        return None
    across, down = _along(grey, upright, *ends[0]), _along(grey.T, level, *ends[1])
    found = _best(across, down, upright, level)
    if found is None:
        return None
    x1, x2, y1, y2 = found
    return Box(x1=float(left + x1), y1=float(top + y1), x2=float(left + x2), y2=float(top + y2))


def _steps(grey: NDArray[np.uint8], opens: bool, closes: bool) -> NDArray[np.bool_]:
    """Where brightness steps between neighbours but one, as an encoder softens it; the picture's border counts."""
    steps = np.zeros(grey.shape, np.bool_)
    steps[:, 1:-1] = _differ(grey[:, 2:], grey[:, :-2])
    steps[:, 0], steps[:, -1] = opens, closes
    return steps


def _differ(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.maximum(one, other) - np.minimum(one, other) >= _STEP


def _tried(steps: NDArray[np.bool_], face: slice) -> _Sides:
    """Columns before and after the face's own that may be an edge; ``steps`` holds the rows beside the face."""
    support = steps.mean(axis=0)
    beside = np.concatenate([[-1.0], support, [-1.0]])
    peaks = np.where((support > beside[:-2]) & (support >= beside[2:]), support, 0.0)
    margin = int(_MARGIN * (face.stop - face.start))
    before = np.flatnonzero(peaks[: max(0, face.start - margin)] >= _BESIDE)
    after = np.flatnonzero(peaks[face.stop + margin :] >= _BESIDE) + face.stop + margin
    first, second = (side[np.argsort(-support[side], kind="stable")[:_TRIED]] for side in (before, after))
    return first, second


def _along(grey: NDArray[np.uint8], tried: _Sides, opens: bool, closes: bool) -> NDArray[np.int32]:
    """Steps above each place in the tried columns, as :func:`_steps` sees them: shape (rows + 1, columns).

    In the other columns there are none.
    """
    rows, columns = grey.shape
    places = np.concatenate(tried)
    steps = _differ(grey[:, np.minimum(places + 1, columns - 1)], grey[:, np.maximum(places - 1, 0)])
    steps[:, places == 0] = opens
    steps[:, places == columns - 1] = closes
    above = np.zeros((rows + 1, columns), np.int32)
    above[1:, places] = steps.cumsum(axis=0, dtype=np.int32)
    return above


def _best(
    across: NDArray[np.int32], down: NDArray[np.int32], upright: _Sides, level: _Sides
) -> tuple[int, int, int, int] | None:
    """Left, right, top and bottom of the combination whose edges are seen best."""
    x1, x2, y1, y2 = np.ix_(*upright, *level)
    tall, wide = y2 - y1 + 1, x2 - x1 + 1
    support = np.stack(
        np.broadcast_arrays(
            (across[y2 + 1, x1] - across[y1, x1]) / tall,
            (across[y2 + 1, x2] - across[y1, x2]) / tall,
            (down[x2 + 1, y1] - down[x1, y1]) / wide,
            (down[x2 + 1, y2] - down[x1, y2]) / wide,
        )
    )
    weakest, third = np.sort(support, axis=0)[:2]
    last = (down.shape[1] - 1, across.shape[1] - 1)
    third[((x1 == 0) & (x2 == last[1])) | ((y1 == 0) & (y2 == last[0]))] = 0.0
    # Of several that three edges speak for, the one that the fourth speaks for too.
    place = np.unravel_index(int((third + _FOURTH * weakest).argmax()), third.shape)
    if third[place] < _SUPPORT:
        return None
    left, right, top, bottom = (int(tried[number]) for tried, number in zip((*upright, *level), place, strict=True))
    return left, right, top, bottom
