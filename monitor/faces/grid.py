"""A face in a few coarse brightnesses: enough to see whether it moved, blinked or spoke since."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from monitor.faces.face import GRID_SIDE


def face_grid(crop: NDArray[np.uint8]) -> bytes:
    """Mean luma of 20 x 20 cells, row by row.

    :param crop: aligned crop, shape (112, 112, 3), BGR.
    """
    cells = cv2.resize(crop, (GRID_SIDE, GRID_SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(cells, cv2.COLOR_BGR2GRAY), np.uint8).tobytes()
