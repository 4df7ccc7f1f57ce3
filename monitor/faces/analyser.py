"""Finds and embeds the faces of one picture: detect, align, judge, embed. Runs inside a worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from monitor.faces.align import aligned_crops
from monitor.faces.config import FacesConfig
from monitor.faces.detect import Detections, Detector
from monitor.faces.embedded import Embedder
from monitor.faces.face import Box, Embedding, Face, PackInfo, Quality
from monitor.faces.gate import GateVerdict, judge
from monitor.faces.grid import face_grid
from monitor.faces.inset import inset_around
from monitor.faces.levelling import Leveller
from monitor.faces.quality import ClarityNetwork, measure

MOST_EMBEDDED = 24
"""In a crowd only this many faces, the highest, are embedded: one picture must not hold a worker for seconds."""

_LEAST_LANDMARK_SPREAD_PX = 2.0


class FaceAnalyser:
    """A loaded pack."""

    def __init__(
        self,
        info: PackInfo,
        detector: Detector,
        recogniser: Embedder,
        config: FacesConfig,
        leveller: Leveller | None = None,
        clearness: ClarityNetwork | None = None,
    ) -> None:
        self.info = info
        self._leveller = leveller
        self._clearness = clearness
        self._detector = detector
        self._recogniser = recogniser
        self._config = config

    def boxes(self, picture: NDArray[np.uint8]) -> list[Box]:
        """Where ``picture`` (shape (H, W, 3), BGR) shows a face, however small or blurred."""
        return [_box(corners) for corners in _usable(self._detector.detect(picture), picture).boxes]

    def faces(self, picture: NDArray[np.uint8]) -> tuple[Face, ...]:
        """All faces of ``picture`` (shape (H, W, 3), BGR), best det_score first.

        Those that the quality gate refuses, and those beyond the ``MOST_EMBEDDED`` highest, have no embedding.
        """
        found = _usable(self._detector.detect(picture), picture)
        if not len(found):
            return ()
        crops = aligned_crops(picture, found.landmarks)
        boxes = [_box(corners) for corners in found.boxes]
        size = (picture.shape[1], picture.shape[0])
        qualities = [
            measure(crop, landmarks, box, size)
            for crop, landmarks, box in zip(crops, found.landmarks, boxes, strict=True)
        ]
        chosen = _chosen(boxes, found.det_scores, qualities, self._config)
        if self._clearness is not None:
            # It costs as much as a small recogniser: only what the other measurements let pass is shown to it.
            for i, clarity in zip(chosen, self._clearness.clarity([crops[i] for i in chosen]), strict=True):
                qualities[i] = replace(qualities[i], clarity=clarity)
            chosen = _chosen(boxes, found.det_scores, qualities, self._config, among=chosen)
        embeddings: dict[int, Embedding] = {}
        if chosen:
            embedded = self._recogniser.embed_measured([crops[i] for i in chosen])
            if self._leveller is not None:
                embedded = self._leveller.level(picture, found.landmarks[chosen], embedded)
            embeddings = dict(zip(chosen, embedded.embeddings, strict=True))
        return tuple(
            Face(
                box=boxes[i],
                landmarks=found.landmarks[i],
                det_score=float(found.det_scores[i]),
                quality=qualities[i],
                embedding=embeddings.get(i),
                grid=face_grid(crops[i]) if i in embeddings else b"",
                inset=inset_around(picture, boxes[i]) if i in embeddings and _is_beside_a_larger(i, boxes) else None,
            )
            for i in range(len(found))
        )


def _usable(found: Detections, picture: NDArray[np.uint8]) -> Detections:
    """Without those that cannot be aligned; boxes cut at the picture's edges."""
    limits = np.array([picture.shape[1], picture.shape[0]] * 2, np.float32)
    boxes = np.clip(found.boxes, 0, limits)
    finite = np.isfinite(found.boxes).all(axis=1) & np.isfinite(found.landmarks).all(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        visible = (boxes[:, 2:] - boxes[:, :2] > 1).all(axis=1)
        spread = np.ptp(found.landmarks, axis=1).max(axis=1) >= _LEAST_LANDMARK_SPREAD_PX
    cut = Detections(boxes=boxes, landmarks=found.landmarks, det_scores=found.det_scores)
    return cut.take(finite & visible & spread)


def _box(corners: NDArray[np.float32]) -> Box:
    x1, y1, x2, y2 = (float(value) for value in corners)
    return Box(x1=x1, y1=y1, x2=x2, y2=y2)


def _is_beside_a_larger(index: int, boxes: list[Box]) -> bool:
    return any(box.height > boxes[index].height for box in boxes)


def _chosen(
    boxes: list[Box],
    det_scores: NDArray[np.float32],
    qualities: list[Quality],
    config: FacesConfig,
    among: Sequence[int] | None = None,
) -> list[int]:
    """Which faces to embed: those that pass the gate, of them the highest.

    :param among: the only ones to consider; by default all.
    """
    good = [
        i
        for i in (range(len(boxes)) if among is None else among)
        if judge(boxes[i], float(det_scores[i]), qualities[i], config) is GateVerdict.EMBEDDED
    ]
    return sorted(good, key=lambda i: -boxes[i].height)[:MOST_EMBEDDED]
