"""YuNet (Wu et al., 2023) on a prepared ONNX file: decodes its twelve outputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from monitor.faces.detect import (
    COARSE_SIDE_PX,
    FINE_SIDE_PX,
    REPORTED_FROM,
    Detections,
    Fitted,
    Planes,
    fit,
    merged,
    restored,
)
from monitor.faces.providers import Session

_STRIDES = (8, 16, 32)
_HEADS = ("cls", "obj", "bbox", "kps")
OUTPUTS = [f"{head}_{stride}" for stride in _STRIDES for head in _HEADS]
"""The network's outputs in the order that :func:`decoded` takes them in."""


class YuNet:
    """A :class:`monitor.faces.detect.Detector`."""

    def __init__(self, session: Session, sides: Sequence[int] = (FINE_SIDE_PX, COARSE_SIDE_PX)) -> None:
        """:param sides: long sides at which a picture is searched, the largest first."""
        self._session = session
        self._input = session.get_inputs()[0].name
        self._sides = tuple(sides)
        self._planes = Planes(self._sides[0])

    def detect(self, picture: NDArray[np.uint8]) -> Detections:
        """All faces of ``picture`` (shape (H, W, 3), BGR); one search for each side, merged."""
        fitted = [fit(picture, self._sides[0])]
        fitted += [fit(picture, side, larger=fitted[0]) for side in self._sides[1:]]
        return merged([found for each in fitted for found in self._search(each)])

    def _search(self, fitted: Fitted) -> list[Detections]:
        blob = self._planes.of(fitted)
        values = self._session.run(OUTPUTS, {self._input: blob})
        return [restored(found, fitted) for found in decoded(values, blob.shape[3])]


def decoded(values: Sequence[NDArray[np.float32]], width: int) -> list[Detections]:
    """What the network's outputs for one picture speak of from ``REPORTED_FROM``, for each stride that has any.

    In pixels of the network's input, and each face as often as cells saw it: to be merged.

    :param values: of :data:`OUTPUTS`, each of shape (1, cells, numbers).
    :param width: of the network's input, pixels.
    """
    found = []
    for number, stride in enumerate(_STRIDES):
        heads = values[len(_HEADS) * number : len(_HEADS) * (number + 1)]
        # Nearly all cells show none: what follows is for the few that may.
        cells = np.flatnonzero(heads[0][0, :, 0] * heads[1][0, :, 0] >= REPORTED_FROM**2)
        if cells.size:
            found.append(_decoded_cells([head[0, cells] for head in heads], cells, stride, width // stride))
    return found


def _decoded_cells(
    heads: Sequence[NDArray[np.float32]], cells: NDArray[np.intp], stride: int, columns: int
) -> Detections:
    """The detections of some cells of one stride's grid.

    det_score is the geometric mean of class and object confidence; centres and landmarks are offsets from the cell,
    sizes are logarithms, all in units of the stride.

    :param heads: of the cells, ``_HEADS``: shapes (n, 1), (n, 1), (n, 4), (n, 10).
    :param columns: cells in a row of the grid.
    """
    classes, objects, regression, keypoints = heads
    det_scores = np.sqrt(np.minimum(classes, 1) * np.minimum(objects, 1))[:, 0]
    rows, places = np.divmod(cells, columns)
    origins = np.stack([places, rows], axis=1).astype(np.float32)
    centres = (origins + regression[:, :2]) * stride
    halves = np.exp(regression[:, 2:]) * (stride / 2)
    landmarks = (keypoints.reshape(-1, 5, 2) + origins[:, None]) * stride
    boxes = np.concatenate([centres - halves, centres + halves], axis=1)
    return Detections(boxes=boxes, landmarks=landmarks, det_scores=det_scores)
