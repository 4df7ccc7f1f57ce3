"""What every detector gives, and the geometry that detectors share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

REPORTED_FROM = 0.5
"""Detections below this det_score are not faces at all; the quality gate asks for more before it embeds one."""

OVERLAP_LIMIT = 0.4
"""Of two boxes with a higher intersection over union, only the better one is kept."""

FINE_SIDE_PX = 640
"""Long side at which a picture is searched: faces from about 2 % of its height are found."""

COARSE_SIDE_PX = 224
"""Long side of the second search, which finds faces that fill the picture: detectors are trained on smaller ones."""

_GRID_PX = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """All faces found in one picture, best first."""

    boxes: NDArray[np.float32] = field(repr=False)
    """Shape (n, 4): x1, y1, x2, y2 in pixels of the picture."""
    landmarks: NDArray[np.float32] = field(repr=False)
    """Shape (n, 5, 2), pixels, in :class:`monitor.faces.face.Face`'s order."""
    det_scores: NDArray[np.float32]
    """Shape (n,), 0 to 1."""

    def __post_init__(self) -> None:
        count = len(self.det_scores)
        if self.boxes.shape != (count, 4) or self.landmarks.shape != (count, 5, 2):
            raise ValueError(
                f"boxes {self.boxes.shape} and landmarks {self.landmarks.shape} do not fit {count} detections: "
                f"expected ({count}, 4) and ({count}, 5, 2)"
            )

    def __len__(self) -> int:
        return len(self.det_scores)

    def take(self, chosen: NDArray[np.intp] | NDArray[np.bool_]) -> Detections:
        """The chosen ones, in that order."""
        return Detections(
            boxes=self.boxes[chosen], landmarks=self.landmarks[chosen], det_scores=self.det_scores[chosen]
        )


NONE_FOUND = Detections(
    boxes=np.zeros((0, 4), np.float32), landmarks=np.zeros((0, 5, 2), np.float32), det_scores=np.zeros(0, np.float32)
)


class Detector(Protocol):
    """Finds faces with five landmarks."""

    def detect(self, picture: NDArray[np.uint8]) -> Detections:
        """All faces of ``picture`` (shape (H, W, 3), BGR) from det_score ``REPORTED_FROM``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A picture scaled into a detector's input, at the top left; the rest is black."""

    canvas: NDArray[np.uint8] = field(repr=False)
    """Shape (h, w, 3), BGR."""
    scale_x: float
    """Canvas pixels per picture pixel."""
    scale_y: float


def fit(picture: NDArray[np.uint8], long_side: int, canvas_size: tuple[int, int] | None = None) -> Fitted:
    """Scale ``picture`` so that its long side is ``long_side``, on a canvas of its own aspect.

    :param canvas_size: width and height of the canvas; by default just large enough, in multiples of 32.
    """
    height, width = picture.shape[:2]
    scale = long_side / max(height, width)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    # Averaging keeps small faces free of aliasing; it cannot enlarge.
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(picture, (new_width, new_height), interpolation=interpolation)
    canvas_width, canvas_height = canvas_size or (_round_up(new_width), _round_up(new_height))
    canvas = np.zeros((canvas_height, canvas_width, 3), np.uint8)
    canvas[:new_height, :new_width] = scaled
    return Fitted(canvas=canvas, scale_x=new_width / width, scale_y=new_height / height)


def restored(found: Detections, fitted: Fitted) -> Detections:
    """``found`` on the canvas, in pixels of the picture."""
    scale = np.array([fitted.scale_x, fitted.scale_y] * 2, np.float32)
    return Detections(boxes=found.boxes / scale, landmarks=found.landmarks / scale[:2], det_scores=found.det_scores)


def merged(passes: Sequence[Detections]) -> Detections:
    """One detection per face out of several searches of one picture (greedy non-maximum suppression)."""
    passes = [found for found in passes if len(found)]
    if not passes:
        return NONE_FOUND
    every = Detections(
        boxes=np.concatenate([found.boxes for found in passes]),
        landmarks=np.concatenate([found.landmarks for found in passes]),
        det_scores=np.concatenate([found.det_scores for found in passes]),
    )
    return every.take(suppress(every.boxes, every.det_scores))


def suppress(boxes: NDArray[np.float32], det_scores: NDArray[np.float32]) -> NDArray[np.intp]:
    """Which boxes to keep, best first: each overlaps no better kept one by more than ``OVERLAP_LIMIT``."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = np.argsort(-det_scores, kind="stable")
    kept: list[np.intp] = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(best)
        corner = np.maximum(boxes[best, :2], boxes[rest, :2])
        opposite = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = np.clip(opposite - corner, 0, None).prod(axis=1)
        overlap = shared / np.maximum(areas[best] + areas[rest] - shared, 1e-9)
        order = rest[overlap <= OVERLAP_LIMIT]
    return np.array(kept, np.intp)


def _round_up(pixels: int) -> int:
    return -(-pixels // _GRID_PX) * _GRID_PX
