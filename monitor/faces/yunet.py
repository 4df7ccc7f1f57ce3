"""YuNet (Wu et al., 2023) on a prepared ONNX file: decodes its twelve outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from monitor.faces.detect import (
    COARSE_SIDE_PX,
    FINE_SIDE_PX,
    REPORTED_FROM,
    Detections,
    fit,
    merged,
    restored,
)
from monitor.faces.providers import Session

_STRIDES = (8, 16, 32)
_HEADS = ("cls", "obj", "bbox", "kps")
_OUTPUTS = [f"{head}_{stride}" for stride in _STRIDES for head in _HEADS]


class YuNet:
    """A :class:`monitor.faces.detect.Detector`."""

    def __init__(
        self,
        session: Session,
        sides: Sequence[int] = (FINE_SIDE_PX, COARSE_SIDE_PX),
        reported_from: float = REPORTED_FROM,
    ) -> None:
        """:param reported_from: det_score of the weakest detection that is given out."""
        self._session = session
        self._input = session.get_inputs()[0].name
        self._sides = tuple(sides)
        self._reported_from = reported_from

    def detect(self, picture: NDArray[np.uint8]) -> Detections:
        """All faces of ``picture`` (shape (H, W, 3), BGR); one search for each side, merged."""
        return merged([self._search(picture, side) for side in self._sides])

    def _search(self, picture: NDArray[np.uint8], side: int) -> Detections:
        fitted = fit(picture, side)
        blob = np.asarray(cv2.dnn.blobFromImage(fitted.canvas), np.float32)
        values = self._session.run(_OUTPUTS, {self._input: blob})
        outputs = {name: value[0] for name, value in zip(_OUTPUTS, values, strict=True)}
        width = fitted.canvas.shape[1]
        return restored(
            merged([decode_stride(outputs, stride, width // stride, self._reported_from) for stride in _STRIDES]),
            fitted,
        )


def decode_stride(
    outputs: Mapping[str, NDArray[np.float32]], stride: int, columns: int, reported_from: float = REPORTED_FROM
) -> Detections:
    """The detections of one stride's heads from ``reported_from``, in pixels of the network's input.

    det_score is the geometric mean of class and object confidence; centres are offsets from the cell, sizes are
    logarithms, all in units of the stride.

    :param outputs: ``cls_S`` and ``obj_S`` of shape (cells, 1), ``bbox_S`` (cells, 4), ``kps_S`` (cells, 10).
    :param columns: cells in a row of the grid.
    """
    confidence = outputs[f"cls_{stride}"][:, 0].clip(0, 1) * outputs[f"obj_{stride}"][:, 0].clip(0, 1)
    det_scores = np.sqrt(confidence)
    cells = np.flatnonzero(det_scores >= reported_from)
    origins = np.stack([cells % columns, cells // columns], axis=1).astype(np.float32)
    regression = outputs[f"bbox_{stride}"][cells]
    centres = (origins + regression[:, :2]) * stride
    halves = np.exp(regression[:, 2:]) * (stride / 2)
    landmarks = (outputs[f"kps_{stride}"][cells].reshape(-1, 5, 2) + origins[:, None]) * stride
    return Detections(
        boxes=np.concatenate([centres - halves, centres + halves], axis=1),
        landmarks=landmarks,
        det_scores=det_scores[cells],
    )
