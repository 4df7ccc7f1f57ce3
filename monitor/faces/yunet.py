"""YuNet (Wu et al., 2023) on a prepared ONNX file: decodes its twelve outputs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from monitor.faces.detect import (
    COARSE_SIDE_PX,
    FINE_SIDE_PX,
    REPORTED_FROM,
    Detections,
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

    def __init__(
        self,
        session: Session,
        sides: Sequence[int] = (FINE_SIDE_PX, COARSE_SIDE_PX),
        reported_from: float = REPORTED_FROM,
    ) -> None:
        """
        :param sides: long sides at which a picture is searched, the largest first.
        :param reported_from: det_score of the weakest detection that is given out.
        """
        self._session = session
        self._input = session.get_inputs()[0].name
        self._sides = tuple(sides)
        self._planes = [Planes(side) for side in self._sides]
        self._reported_from = reported_from

    def detect(self, picture: NDArray[np.uint8]) -> Detections:
        """All faces of ``picture`` (shape (H, W, 3), BGR); one search for each side, merged."""
        fitted = [fit(picture, self._sides[0])]
        fitted += [fit(picture, side, larger=fitted[0]) for side in self._sides[1:]]
        # Step by step for all sides: the network leaves nothing of what is not its own in the processor's cache.
        blobs = [planes.of(each) for planes, each in zip(self._planes, fitted, strict=True)]
        outputs = [self._session.run(OUTPUTS, {self._input: blob}) for blob in blobs]
        return merged(
            [
                restored(found, each)
                for each, blob, values in zip(fitted, blobs, outputs, strict=True)
                for found in decoded(values, blob.shape[3], self._reported_from)
            ]
        )


def decoded(
    values: Sequence[NDArray[np.float32]], width: int, reported_from: float = REPORTED_FROM
) -> list[Detections]:
    """What the network's outputs for one picture speak of from ``reported_from``, for each stride that has any.

    In pixels of the network's input, and each face as often as cells saw it: to be merged. det_score is the geometric
    mean of class and object confidence; centres and landmarks are offsets from the cell, sizes are logarithms, all in
    units of the stride.

    :param values: of :data:`OUTPUTS`, each of shape (1, cells, numbers).
    :param width: of the network's input, pixels.
    """
    found = []
    for number, stride in enumerate(_STRIDES):
        classes, objects, regression, keypoints = (head[0] for head in values[len(_HEADS) * number :][: len(_HEADS)])
        confidence = (classes * objects)[:, 0]
        # Nearly all cells show none: what follows is for the few that may.
        cells = np.flatnonzero(confidence >= reported_from**2)
        if not cells.size:
            continue
        origins = _origins(len(confidence), width // stride)[cells]
        near = regression[cells]
        centres = (origins + near[:, :2]) * stride
        halves = np.exp(near[:, 2:]) * (stride / 2)
        found.append(
            Detections(
                boxes=np.concatenate([centres - halves, centres + halves], axis=1),
                landmarks=(keypoints[cells].reshape(-1, 5, 2) + origins[:, None]) * stride,
                det_scores=np.sqrt(confidence[cells]),
            )
        )
    return found


@lru_cache(maxsize=64)
def _origins(cells: int, columns: int) -> NDArray[np.float32]:
    """Column and row of each cell of a grid: shape (cells, 2)."""
    rows, places = np.divmod(np.arange(cells), columns)
    return np.stack([places, rows], axis=1).astype(np.float32)
