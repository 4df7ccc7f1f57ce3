"""Measures how fit a face is to be compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from monitor.faces.align import CROP_PX, TEMPLATE
from monitor.faces.face import Box, Quality
from monitor.faces.pose import pose_of

_EYES_APART = float(np.hypot(*(TEMPLATE[1] - TEMPLATE[0])))


class ClarityNetwork(Protocol):
    """Something that says how clear a face is: :class:`monitor.faces.quality_network.QualityNetwork`."""

    def clarity(self, crops: Sequence[NDArray[np.uint8]]) -> list[float | None]:
        """For each crop (aligned, shape (112, 112, 3), BGR) a number, the higher the clearer; None: it knows none."""


def measure(
    crop: NDArray[np.uint8],
    landmarks: NDArray[np.float32],
    matrix: NDArray[np.float64],
    box: Box,
    picture_size: tuple[int, int],
) -> Quality:
    """Sharpness (variance of the Laplacian, Pech-Pacheco 2000), mean luma, fit of the landmarks, pose and coverage.

    :param crop: aligned crop, shape (112, 112, 3), BGR.
    :param landmarks: shape (5, 2), pixels of the picture that the crop was cut from.
    :param matrix: shape (2, 3), from picture to crop pixels: the face's similarity.
    :param picture_size: its width and height.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
    off = landmarks @ matrix[:, :2].T + matrix[:, 2] - TEMPLATE
    pose = pose_of(landmarks)
    return Quality(
        # NumPy's own mean and variance of so few values take ten times as long.
        sharpness=float(cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_32F))[1][0, 0] ** 2),
        brightness=float(cv2.mean(grey)[0]),
        height_px=box.height,
        landmark_residual=float(np.sqrt((off**2).sum(axis=1).mean()) / _EYES_APART),
        yaw=pose.yaw,
        pitch=pose.pitch,
        roll=pose.roll,
        inside=_inside(matrix, picture_size),
    )


def _inside(matrix: NDArray[np.float64], picture_size: tuple[int, int]) -> float:
    """Share of the crop that lies within the picture."""
    (a, _, x), (b, _, y) = matrix.tolist()
    # The inverse of a similarity [[a, -b], [b, a]] is its transpose over its squared scale.
    scale = a * a + b * b
    corners = [
        ((a * (u - x) + b * (v - y)) / scale, (a * (v - y) - b * (u - x)) / scale)
        for u, v in ((0, 0), (CROP_PX, 0), (CROP_PX, CROP_PX), (0, CROP_PX))
    ]
    width, height = picture_size
    whole = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    area, _ = cv2.intersectConvexConvex(np.array(corners, np.float32), whole)
    return float(min(1.0, max(0.0, area * scale / CROP_PX**2)))
