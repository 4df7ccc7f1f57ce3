"""Which way a face is turned, from its five landmarks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.faces.align import TEMPLATE

_EYES_APART = float(TEMPLATE[1, 0] - TEMPLATE[0, 0])
_DEPTH = np.array([0.0, 0.0, -0.5, -0.1, -0.1]) * _EYES_APART
"""Away from the camera, relative to the eyes: the nose's tip is taken to stand out by half the eyes' distance, the
corners of the mouth by a tenth. A flatter or a longer nose changes the scale of yaw and pitch, not their sign."""

_MODEL = np.column_stack([TEMPLATE, _DEPTH]) - np.column_stack([TEMPLATE, _DEPTH]).mean(axis=0)
_FIT = np.linalg.pinv(_MODEL)
_FLAT = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """Degrees; all are nought for a face that looks straight into the camera."""

    yaw: float
    """Turned to the picture's right; negative to its left."""
    pitch: float
    """Turned upwards; negative downwards."""
    roll: float
    """Tilted clockwise, as seen in the picture."""


def pose_of(landmarks: NDArray[np.float32]) -> Pose:
    """The rotation under which a mean face, seen in scaled orthography, comes nearest to the landmarks.

    One step of POS (DeMenthon and Davis, Model-Based Object Pose in 25 Lines of Code, 1995): a linear fit of the 2 x 3
    projection, then the nearest orthonormal one. A detector's landmarks tremble by 2 to 3 % of a face's height, which
    is 5 to 8 degrees of yaw and pitch, and YuNet places them as if a tilted face were tilted less, by half at worst. A
    photo that is turned looks like a head that is.

    :param landmarks: shape (5, 2), pixels, ordered as in :class:`monitor.faces.face.Face`.
    """
    points = landmarks.astype(np.float64)
    (ax, ay, az), (dx, dy, dz) = orthonormal((_FIT @ (points - points.mean(axis=0))).T)
    # The third axis is their cross product.
    away_x, away_y, away_z = ay * dz - az * dy, az * dx - ax * dz, ax * dy - ay * dx
    # Of the rotation roll * pitch * yaw, roll first as the picture sees it.
    return Pose(
        yaw=math.degrees(math.atan2(away_x, away_z)),
        pitch=math.degrees(math.asin(min(1.0, max(-1.0, -away_y)))),
        roll=math.degrees(math.atan2(-ay, dy)),
    )


def orthonormal(projection: NDArray[np.float64]) -> list[list[float]]:
    """The nearest 2 x 3 matrix with orthonormal rows: ``(P P^T)^(-1/2) P``, whose root has a closed form in 2 x 2."""
    (a, b), (_, c) = (projection @ projection.T).tolist()
    root = math.sqrt(max(0.0, a * c - b * b))
    if root <= _FLAT * (a + c):
        # All landmarks on one line.
        left, _, right = np.linalg.svd(projection, full_matrices=False)
        nearest: list[list[float]] = (left @ right).tolist()
        return nearest
    inverse_root = np.array([[c + root, -b], [-b, a + root]]) / (root * math.sqrt(a + c + 2 * root))
    result: list[list[float]] = (inverse_root @ projection).tolist()
    return result
