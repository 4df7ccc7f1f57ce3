"""InsightFace's SCRFD (Guo et al., 2021) behind the Detector protocol."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from insightface.model_zoo.scrfd import SCRFD
from numpy.typing import NDArray

from monitor.errors import PackError
from monitor.faces.detect import (
    COARSE_SIDE_PX,
    FINE_SIDE_PX,
    REPORTED_FROM,
    Detections,
    Fitted,
    fit,
    merged,
    restored,
)
from monitor.faces.providers import Session


class ScrfdDetector:
    """A :class:`monitor.faces.detect.Detector` on one of InsightFace's detection networks."""

    def __init__(self, path: Path, session: Session) -> None:
        # Without a fixed input size one session serves every size; InsightFace would load the network once for each.
        self._network = SCRFD(model_file=str(path), session=session, static_shape_sessions=False)
        if not self._network.use_kps:
            raise PackError(f"{path.name} finds no landmarks: faces.pack_dir needs an SCRFD network with key points")
        self._fixed_size: tuple[int, int] | None = self._network.static_input_size

    def detect(self, picture: NDArray[np.uint8]) -> Detections:
        """All faces of ``picture`` (shape (H, W, 3), BGR), searched at two sizes and merged.

        SCRFD with key points is weak on faces larger than 40 % of its input: the second search shows it them smaller.
        """
        if self._fixed_size is None:
            fitted = [fit(picture, FINE_SIDE_PX), fit(picture, COARSE_SIDE_PX)]
        else:
            side = min(self._fixed_size)
            fitted = [fit(picture, long_side, self._fixed_size) for long_side in (side, min(side, COARSE_SIDE_PX))]
        return merged([self._search(each) for each in fitted])

    def _search(self, fitted: Fitted) -> Detections:
        height, width = fitted.canvas.shape[:2]
        found, landmarks = self._network.detect(fitted.canvas, input_size=(width, height), det_thresh=REPORTED_FROM)
        detections = Detections(
            boxes=found[:, :4].astype(np.float32),
            landmarks=landmarks.astype(np.float32),
            det_scores=found[:, 4].astype(np.float32),
        )
        return restored(detections, fitted)
