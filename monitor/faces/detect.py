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

COARSE_SIDE_PX = 160
"""Long side of the second search, which finds faces that fill the picture: detectors are trained on smaller ones."""

GRID_PX = 32
"""Sides of a detector's input are multiples of this."""


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
    """A picture scaled for a detector."""

    picture: NDArray[np.uint8] = field(repr=False)
    """Shape (h, w, 3), BGR."""
    scale_x: float
    """Its pixels per pixel of the whole picture."""
    scale_y: float

    @property
    def canvas_size(self) -> tuple[int, int]:
        """Width and height of the smallest input that holds it: multiples of 32."""
        height, width = self.picture.shape[:2]
        return _round_up(width), _round_up(height)

    def on_canvas(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """It at the top left of a picture of that width and height; the rest is black."""
        canvas = np.zeros((size[1], size[0], 3), np.uint8)
        canvas[: self.picture.shape[0], : self.picture.shape[1]] = self.picture
        return canvas


class Planes:
    """Memory for a network's input, used again for every picture: fresh memory costs more than writing there."""

    def __init__(self, long_side: int) -> None:
        """:param long_side: of the largest picture."""
        # None is larger than a square.
        self._memory = np.zeros(3 * _round_up(long_side) ** 2, np.float32)

    def of(self, fitted: Fitted) -> NDArray[np.float32]:
        """The picture on its canvas, as a network takes it: shape (1, 3, h, w), BGR, values 0 to 255, black as 0.

        It holds until the next call. The same as ``cv2.dnn.blobFromImage`` of the canvas, in half the time.
        """
        (width, height), (shown_height, shown_width) = fitted.canvas_size, fitted.picture.shape[:2]
        blob = self._memory[: 3 * height * width].reshape(1, 3, height, width)
        blob[:, :, shown_height:] = 0
        blob[:, :, :shown_height, shown_width:] = 0
        for plane, channel in zip(blob[0], cv2.split(fitted.picture), strict=True):
            plane[:shown_height, :shown_width] = channel
        return blob


def fit(picture: NDArray[np.uint8], long_side: int, larger: Fitted | None = None) -> Fitted:
    """Scale ``picture`` so that its long side is ``long_side``.

    :param larger: the same picture, fitted larger: what is scaled is that, which is less work.
    """
    height, width = picture.shape[:2]
    scale = long_side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    scaled = _scaled(picture if larger is None else larger.picture, size)
    return Fitted(picture=scaled, scale_x=size[0] / width, scale_y=size[1] / height)


def _scaled(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """``picture`` with that width and height.

    Averaging keeps small faces free of aliasing, but is quick only over two by two pixels; so it halves, without the
    last of an odd number of rows or columns, and what is left, less than another half, is interpolated.
    """
    width, height = size
    while picture.shape[1] >= 2 * width and picture.shape[0] >= 2 * height:
        halved_height, halved_width = picture.shape[0] // 2, picture.shape[1] // 2
        even = picture[: 2 * halved_height, : 2 * halved_width]
        halved = cv2.resize(even, (halved_width, halved_height), interpolation=cv2.INTER_AREA)
        picture = np.asarray(halved, np.uint8)
    return np.asarray(cv2.resize(picture, size), np.uint8) if picture.shape[1::-1] != size else picture


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
        if not rest.size:
            break
        corner = np.maximum(boxes[best, :2], boxes[rest, :2])
        opposite = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = np.clip(opposite - corner, 0, None).prod(axis=1)
        overlap = shared / np.maximum(areas[best] + areas[rest] - shared, 1e-9)
        order = rest[overlap <= OVERLAP_LIMIT]
    return np.array(kept, np.intp)


def _round_up(pixels: int) -> int:
    return -(-pixels // GRID_PX) * GRID_PX
