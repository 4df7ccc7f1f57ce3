"""Draws evidence: the picture with a face's box, and the face cut out."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from monitor.faces.face import Box

JPEG_QUALITY = 88
CROP_MARGIN = 0.4
"""Surroundings on each side of a face, as a part of its size."""
LEAST_CROP_PX = 160
"""A crop is at least this high where the picture allows."""

_YELLOW = (0, 215, 255)
_BLACK = (0, 0, 0)


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
