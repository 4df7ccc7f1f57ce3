"""Measures whether an aligned crop is sharp and lit enough to be compared."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from monitor.faces.face import Quality


def measure(crop: NDArray[np.uint8]) -> Quality:
    """Sharpness (variance of the Laplacian, Pech-Pacheco 2000) and mean luma.

    :param crop: aligned crop, shape (112, 112, 3), BGR.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
    return Quality(sharpness=float(cv2.Laplacian(grey, cv2.CV_32F).var()), brightness=float(grey.mean()))
