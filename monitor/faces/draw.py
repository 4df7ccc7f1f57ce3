"""Draws evidence: the picture with a face's box, and the face cut out; nobody else's face can be known in it."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from monitor.faces.face import Box

JPEG_QUALITY = 88
CROP_MARGIN = 0.4
"""Surroundings on each side of a face, as a part of its size."""
LEAST_CROP_PX = 160
"""A crop is at least this high where the picture allows."""

HIDDEN_MARGIN = 0.25
"""Surroundings on each side of a face that are hidden with it, as a part of its size."""

_SAME_FACE = 0.5
_HIDDEN_BLOCKS = 5
_YELLOW = (0, 215, 255)
_BLACK = (0, 0, 0)


def others_hidden(picture: NDArray[np.uint8], faces: Iterable[Box], shown: Box) -> NDArray[np.uint8]:
    """A copy of ``picture`` (shape (H, W, 3), BGR) in which of ``faces`` only the one at ``shown`` can be known.

    Of the others a few blocks of colour are left; where they lie over ``shown``, that face stays as it was.
    """
    hidden = picture.copy()
    height, width = picture.shape[:2]
    for face in faces:
        if face.overlap(shown) >= _SAME_FACE:
            continue
        left, right = _span((face.x1 + face.x2) / 2, face.width * (1 + 2 * HIDDEN_MARGIN), width)
        top, bottom = _span((face.y1 + face.y2) / 2, face.height * (1 + 2 * HIDDEN_MARGIN), height)
        area = hidden[top:bottom, left:right]
        blocks = cv2.resize(area, (_HIDDEN_BLOCKS, _HIDDEN_BLOCKS), interpolation=cv2.INTER_AREA)
        area[:] = cv2.resize(blocks, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)
    left, top, right, bottom = (max(0, round(value)) for value in (shown.x1, shown.y1, shown.x2, shown.y2))
    hidden[top:bottom, left:right] = picture[top:bottom, left:right]
    return hidden


def boxed_jpeg(picture: NDArray[np.uint8], box: Box, label: str) -> bytes:
    """The whole picture as JPEG with ``box`` and ``label`` drawn on a copy.

    :param picture: shape (H, W, 3), BGR.
    """
    drawn = picture.copy()
    height, width = drawn.shape[:2]
    thickness = max(2, round(min(height, width) / 240))
    left, top, right, bottom = (round(value) for value in (box.x1, box.y1, box.x2, box.y2))
    cv2.rectangle(drawn, (left, top), (right, bottom), _YELLOW, thickness)
    if label:
        _draw_label(drawn, label, left, top, bottom, size=max(12, round(height / 24)))
    return jpeg(drawn)


def crop_jpeg(picture: NDArray[np.uint8], box: Box) -> bytes:
    """The face in ``box`` with its surroundings as JPEG; nothing is drawn on it.

    :param picture: shape (H, W, 3), BGR.
    """
    left, top, right, bottom = crop_bounds(box, width=picture.shape[1], height=picture.shape[0])
    return jpeg(np.ascontiguousarray(picture[top:bottom, left:right]))


def crop_bounds(box: Box, *, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the crop around ``box`` in a picture of ``width`` x ``height`` pixels.

    The box grows by ``CROP_MARGIN`` on each side, and further to ``LEAST_CROP_PX``; at an edge of the picture the
    crop is moved inwards before it is cut.
    """
    grown = 1 + 2 * CROP_MARGIN
    scale = max(grown, LEAST_CROP_PX / max(box.height, 1.0))
    left, right = _span((box.x1 + box.x2) / 2, max(1.0, box.width) * scale, width)
    top, bottom = _span((box.y1 + box.y2) / 2, max(1.0, box.height) * scale, height)
    return left, top, right, bottom


def jpeg(picture: NDArray[np.uint8]) -> bytes:
    """``picture`` (shape (H, W, 3), BGR) as a JPEG file."""
    _, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return encoded.tobytes()


def _span(centre: float, length: float, limit: int) -> tuple[int, int]:
    """Start and end of ``length`` pixels about ``centre`` within 0 to ``limit``, never empty."""
    size = min(limit, max(1, round(length)))
    start = min(max(0, round(centre - size / 2)), limit - size)
    return start, start + size


def _draw_label(picture: NDArray[np.uint8], label: str, left: int, top: int, bottom: int, *, size: int) -> None:
    """Write ``label`` above the box, or below it where there is no room, on a dark ground."""
    face = cv2.FontFace("sans")
    height, width = picture.shape[:2]
    x1, y1, text_width, text_height = cv2.getTextSize((width, height), label, (0, 0), face, size)
    x = min(max(0, left), max(0, width - text_width - 4))
    baseline = top - 6 if top - 6 - size >= 0 else min(height - 6, bottom + size + 4)
    ground = (x - 2, baseline + y1 - 3), (x + text_width + 6, baseline + y1 + text_height + 3)
    cv2.rectangle(picture, *ground, _BLACK, cv2.FILLED)
    cv2.putText(picture, label, (x - x1, baseline), _YELLOW, face, size)
