"""Finds and embeds the faces of one picture: detect, align, judge, embed. Runs inside a worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from monitor.faces.align import aligned_crops, similarities
from monitor.faces.config import FacesConfig
from monitor.faces.detect import Detections, Detector
from monitor.faces.embedded import Embedder
from monitor.faces.face import Box, Embedding, Face, PackInfo, SettledFace
from monitor.faces.gate import GateVerdict, judge
from monitor.faces.grid import face_grid
from monitor.faces.inset import FRAMED_BESIDE, inset_around
from monitor.faces.levelling import Leveller
from monitor.faces.quality import ClarityNetwork, measure
from monitor.faces.settled import recognised

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

    def faces(self, picture: NDArray[np.uint8], settled: Sequence[SettledFace] = ()) -> tuple[Face, ...]:
        """All faces of ``picture`` (shape (H, W, 3), BGR), best det_score first.

        Those that the quality gate refuses, those of ``settled`` that are seen again, and those beyond the
        ``MOST_EMBEDDED`` highest have no embedding.
        """
        found = _usable(self._detector.detect(picture), picture)
        if not len(found):
            return ()
        matrices = similarities(found.landmarks)
        crops = aligned_crops(picture, matrices)
        faces = _measured(found, crops, matrices, (picture.shape[1], picture.shape[0]))
        good = {i: replace(face, grid=face_grid(crops[i])) for i, face in enumerate(faces) if self._is_fit(face)}
        known = recognised(settled, good)
        chosen = sorted((i for i in good if i not in known), key=lambda i: -faces[i].box.height)[:MOST_EMBEDDED]
        if self._clearness is not None:
            # It costs as much as a small recogniser: only what the other measurements let pass is shown to it.
            for i, clarity in zip(chosen, self._clearness.clarity([crops[i] for i in chosen]), strict=True):
                faces[i] = replace(faces[i], quality=replace(faces[i].quality, clarity=clarity))
            chosen = [i for i in chosen if self._is_fit(faces[i])]
        embeddings = self._embedded(picture, found, crops, chosen)
        boxes = [face.box for face in faces]
        for i in chosen:
            inset = inset_around(picture, boxes[i]) if _is_outshone(i, boxes) else None
            faces[i] = replace(faces[i], grid=good[i].grid, embedding=embeddings[i], inset=inset)
        for i, number in known.items():
            faces[i] = replace(good[i], settled=number)
        return tuple(faces)

    def _is_fit(self, face: Face) -> bool:
        return judge(face.box, face.det_score, face.quality, self._config) is GateVerdict.EMBEDDED

    def _embedded(
        self,
        picture: NDArray[np.uint8],
        found: Detections,
        crops: Sequence[NDArray[np.uint8]],
        chosen: Sequence[int],
    ) -> dict[int, Embedding]:
        """The embeddings of the ``chosen`` faces."""
        if not chosen:
            return {}
        embedded = self._recogniser.embed_measured([crops[i] for i in chosen])
        if self._leveller is not None:
            embedded = self._leveller.level(picture, found.landmarks[list(chosen)], embedded)
        return dict(zip(chosen, embedded.embeddings, strict=True))


def _usable(found: Detections, picture: NDArray[np.uint8]) -> Detections:
    """Without those that cannot be aligned; boxes cut at the picture's edges."""
    limits = np.array([picture.shape[1], picture.shape[0]] * 2, np.float32)
    boxes = np.clip(found.boxes, 0, limits)
    with np.errstate(invalid="ignore"):
        # One that is not finite makes their sum so.
        finite = np.isfinite(found.boxes.sum(axis=1) + found.landmarks.sum(axis=(1, 2)))
        visible = (boxes[:, 2:] - boxes[:, :2] > 1).all(axis=1)
        spread = np.ptp(found.landmarks, axis=1).max(axis=1) >= _LEAST_LANDMARK_SPREAD_PX
    cut = Detections(boxes=boxes, landmarks=found.landmarks, det_scores=found.det_scores)
    usable = finite & visible & spread
    return cut if usable.all() else cut.take(usable)


def _measured(
    found: Detections, crops: Sequence[NDArray[np.uint8]], matrices: NDArray[np.float64], size: tuple[int, int]
) -> list[Face]:
    """The faces without embeddings.

    :param size: width and height of the picture.
    """
    boxes = [_box(corners) for corners in found.boxes]
    measured = zip(boxes, found.landmarks, found.det_scores, crops, matrices, strict=True)
    return [
        Face(
            box=box,
            landmarks=landmarks,
            det_score=float(det_score),
            quality=measure(crop, landmarks, matrix, box, size),
            embedding=None,
        )
        for box, landmarks, det_score, crop, matrix in measured
    ]


def _box(corners: NDArray[np.float32]) -> Box:
    x1, y1, x2, y2 = (float(value) for value in corners)
    return Box(x1=x1, y1=y1, x2=x2, y2=y2)


def _is_outshone(index: int, boxes: list[Box]) -> bool:
    return any(box.height >= FRAMED_BESIDE * boxes[index].height for box in boxes)
