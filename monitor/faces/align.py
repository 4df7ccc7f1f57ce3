"""Turns a face upright: a similarity from its five landmarks to ArcFace's template, and the warp."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

CROP_PX = 112
"""Side of the aligned crop that every recogniser here takes."""

TEMPLATE: NDArray[np.float64] = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Where eyes, nose and mouth corners lie in the 112 x 112 crop (Deng et al., ArcFace, 2019)."""

_TEMPLATE_COMPLEX = TEMPLATE[:, 0] + 1j * TEMPLATE[:, 1]
_TEMPLATE_CENTRE = _TEMPLATE_COMPLEX.mean()
_TEMPLATE_CENTRED = _TEMPLATE_COMPLEX - _TEMPLATE_CENTRE
_LEAST_SPREAD_PX2 = 1e-6


def similarities(landmarks: NDArray[np.float32]) -> NDArray[np.float64]:
    """The least-squares similarity without reflection from each face's landmarks to the template.

    In two dimensions Umeyama's solution (1991) has a closed form over complex numbers:
    ``q = a p + b`` with ``a = sum(conj(p) q) / sum(|p|^2)`` of the centred points.

    :param landmarks: shape (n, 5, 2), pixels.
    :return: shape (n, 2, 3), from picture pixels to crop pixels.
    :raises ValueError: for another shape, or where five landmarks fall on one point.
    """
    if landmarks.ndim != 3 or landmarks.shape[1:] != (5, 2):
        raise ValueError(f"landmarks have shape {landmarks.shape}, expected (n, 5, 2)")
    points = np.ascontiguousarray(landmarks, np.float64).view(np.complex128)[..., 0]
    centre = points.mean(axis=1)
    centred = points - centre[:, None]
    spread = (centred * centred.conj()).real.sum(axis=1)
    if not np.all(spread > _LEAST_SPREAD_PX2):
        raise ValueError("all five landmarks fall on one point")
    factor = centred.conj() @ _TEMPLATE_CENTRED / spread
    offset = _TEMPLATE_CENTRE - factor * centre
    rows = [factor.real, -factor.imag, offset.real, factor.imag, factor.real, offset.imag]
    return np.stack(rows, axis=1).reshape(-1, 2, 3)


def aligned_crops(picture: NDArray[np.uint8], matrices: NDArray[np.float64]) -> list[NDArray[np.uint8]]:
    """The upright crops of all faces of one picture, black where the picture ends.

    :param picture: shape (H, W, 3), BGR.
    :param matrices: shape (n, 2, 3): the faces' :func:`similarities`.
    :return: n arrays of shape (112, 112, 3), BGR.
    """
    return [
        np.asarray(cv2.warpAffine(picture, matrix, (CROP_PX, CROP_PX), borderValue=0), dtype=np.uint8)
        for matrix in matrices
    ]
