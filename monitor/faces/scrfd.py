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
        side = FINE_SIDE_PX if self._fixed_size is None else min(self._fixed_size)
        fine = fit(picture, side)
        coarse = fit(picture, min(side, COARSE_SIDE_PX), fine)
        return merged([self._search(fine), self._search(coarse)])

    def _search(self, fitted: Fitted) -> Detections:
        size = self._fixed_size or fitted.canvas_size
        found, landmarks = self._network.detect(fitted.on_canvas(size), input_size=size, det_thresh=REPORTED_FROM)
        detections = Detections(
            boxes=found[:, :4].astype(np.float32),
            landmarks=landmarks.astype(np.float32),
            det_scores=found[:, 4].astype(np.float32),
        )
        return restored(detections, fitted)
