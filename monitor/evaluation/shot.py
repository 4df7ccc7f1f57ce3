"""A picture of one face of which is known where the face is, and how points move with it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""Shape (height, width, 3), BGR."""

Landmarks = NDArray[np.float64]
"""Shape (5, 2), pixels: eyes, nose, mouth corners as :class:`monitor.faces.face.Face` orders them."""

_MIRRORED = [1, 0, 2, 4, 3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One picture, not yet encoded."""

    picture: Picture = field(repr=False)
    landmarks: Landmarks = field(repr=False)

    def __post_init__(self) -> None:
        if self.picture.ndim != 3 or self.picture.shape[2] != 3 or self.picture.dtype != np.uint8:
            raise ValueError(f"picture is {self.picture.dtype} {self.picture.shape}, expected uint8 (H, W, 3)")
        if self.landmarks.shape != (5, 2):
            raise ValueError(f"landmarks have shape {self.landmarks.shape}, expected (5, 2)")

    @property
    def width(self) -> int:
        return int(self.picture.shape[1])

    @property
    def height(self) -> int:
        return int(self.picture.shape[0])

    @property
    def eyes(self) -> NDArray[np.float64]:
        """The point between the eyes."""
        return np.asarray((self.landmarks[0] + self.landmarks[1]) / 2, np.float64)

    @property
    def nose(self) -> NDArray[np.float64]:
        return np.asarray(self.landmarks[2], np.float64)

    @property
    def mouth(self) -> NDArray[np.float64]:
        """The point between the corners of the mouth."""
        return np.asarray((self.landmarks[3] + self.landmarks[4]) / 2, np.float64)

    @property
    def unit(self) -> float:
        """What things on a face are measured in: the distance from eyes to mouth, pixels. It survives a turned head,
        which the distance between the eyes does not."""
        return max(1.0, float(np.hypot(*(self.mouth - self.eyes))))

    @property
    def tilt(self) -> float:
        """Degrees by which the line of the eyes falls to the right."""
        across = self.landmarks[1] - self.landmarks[0]
        return math.degrees(math.atan2(across[1], across[0]))

    def with_picture(self, picture: Picture) -> Shot:
        """The same face in other pixels."""
        return Shot(picture=picture, landmarks=self.landmarks)


def warped(shot: Shot, matrix: NDArray[np.float64], width: int, height: int) -> Shot:
    """The shot seen through an affine map; what lies outside is continued from the edge.

    :param matrix: shape (2, 3), from pixels of ``shot`` to those of the result.
    """
    picture = cv2.warpAffine(
        shot.picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return Shot(picture=np.asarray(picture, np.uint8), landmarks=mapped(shot.landmarks, matrix))


def mapped(landmarks: Landmarks, matrix: NDArray[np.float64]) -> Landmarks:
    """``landmarks`` under an affine map of shape (2, 3)."""
    return np.asarray(landmarks @ matrix[:, :2].T + matrix[:, 2], np.float64)


def mirrored(shot: Shot) -> Shot:
    """Left and right exchanged; the eye on the left stays the first landmark."""
    landmarks = shot.landmarks.copy()
    landmarks[:, 0] = shot.width - 1 - landmarks[:, 0]
    return Shot(picture=np.ascontiguousarray(shot.picture[:, ::-1]), landmarks=landmarks[_MIRRORED])
