"""YuNet (Wu et al., 2023) on a prepared ONNX file: decodes its twelve outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from monitor.faces.detect import (
    COARSE_SIDE_PX,
    FINE_SIDE_PX,
    NONE_FOUND,
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
        return merged([self._search(each) for each in fitted])

    def _search(self, fitted: Fitted) -> Detections:
        blob = self._planes.of(fitted)
        return restored(decoded(self._session.run(OUTPUTS, {self._input: blob}), blob.shape[3]), fitted)


def decoded(values: Sequence[NDArray[np.float32]], width: int) -> Detections:
    """The faces that the network's outputs for one picture speak of, in pixels of its input.

    :param values: of :data:`OUTPUTS`, each of shape (1, cells, numbers).
    :param width: of the network's input, pixels.
    """
    outputs = {name: value[0] for name, value in zip(OUTPUTS, values, strict=True)}
    return merged([decode_stride(outputs, stride, width // stride) for stride in _STRIDES])


def decode_stride(outputs: Mapping[str, NDArray[np.float32]], stride: int, columns: int) -> Detections:
    """The detections of one stride's heads from ``REPORTED_FROM``, in pixels of the network's input.

    det_score is the geometric mean of class and object confidence; centres are offsets from the cell, sizes are
    logarithms, all in units of the stride.

    :param outputs: ``cls_S`` and ``obj_S`` of shape (cells, 1), ``bbox_S`` (cells, 4), ``kps_S`` (cells, 10).
    :param columns: cells in a row of the grid.
    """
    classes, objects = outputs[f"cls_{stride}"][:, 0], outputs[f"obj_{stride}"][:, 0]
    # Nearly all cells show none: what follows is for the few that may.
    cells = np.flatnonzero(classes * objects >= REPORTED_FROM**2)
    if not cells.size:
        return NONE_FOUND
    det_scores = np.sqrt(classes[cells].clip(0, 1) * objects[cells].clip(0, 1))
    sure = det_scores >= REPORTED_FROM
    cells, det_scores = cells[sure], det_scores[sure]
    origins = np.stack([cells % columns, cells // columns], axis=1).astype(np.float32)
    regression = outputs[f"bbox_{stride}"][cells]
    centres = (origins + regression[:, :2]) * stride
    halves = np.exp(regression[:, 2:]) * (stride / 2)
    landmarks = (outputs[f"kps_{stride}"][cells].reshape(-1, 5, 2) + origins[:, None]) * stride
    return Detections(
        boxes=np.concatenate([centres - halves, centres + halves], axis=1),
        landmarks=landmarks,
        det_scores=det_scores,
    )
