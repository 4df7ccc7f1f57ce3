"""Looks again at what the detector is not sure of: turned, and enlarged.

Who tilts, overturns or shrinks a face hides it: detectors are trained on upright faces of middling size. They still see
*something* there, but with a low det_score and landmarks in the wrong places, so that the face is aligned wrongly and
resembles nobody. A window about it, brought to a comfortable size and turned until the detector is sure, gives the
landmarks right; the face itself is then cut out of the picture as it came.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from monitor.faces.detect import REPORTED_FROM, Detections, Detector, merged

SUSPECTED_FROM = 0.3
"""Detections from this det_score on are worth a second look, though they are no faces yet."""

SURE_FROM = 0.925
"""An upright face in plain view has more; what has less is looked at again, and looking ends once something has it."""

MOST_LOOKED_AT = 3
"""In a crowd only this many, the highest, are looked at again: each costs up to twelve small searches."""

WINDOW_PX = 160
"""Side of the window that is searched."""

_REACH = 2.2
"""Side of the window in the picture, in longer sides of the box: a face half as wide again is still whole in it."""
_LEAST_GAIN = 0.02
_QUARTERS = (0, 90, 180, 270)
_BETWEEN = (30, -30, 60, -60, 120, -120, 150, -150)


class SecondLook:
    """A :class:`monitor.faces.detect.Detector` that asks another one twice where it is in doubt.

    :param wide: searches whole pictures and reports from ``SUSPECTED_FROM``.
    :param close: searches windows of ``WINDOW_PX``, at that size.
    """

    def __init__(self, wide: Detector, close: Detector) -> None:
        self._wide = wide
        self._close = close

    def detect(self, picture: NDArray[np.uint8]) -> Detections:
        """All faces of ``picture`` (shape (H, W, 3), BGR), also tilted, overturned and small ones.

        The landmarks of a turned face keep the order that they have on an upright one.
        """
        found = self._wide.detect(picture)
        heights = found.boxes[:, 3] - found.boxes[:, 1]
        looked_at = set(np.argsort(-heights, kind="stable")[:MOST_LOOKED_AT].tolist())
        seen = [
            self._looked_at(picture, found.take(np.array([index], np.intp)))
            if index in looked_at
            else found.take(np.array([index], np.intp))
            for index in range(len(found))
        ]
        # What was suspected in two places may have turned out to be one face.
        known = merged(seen) if seen else found
        return known.take(known.det_scores >= REPORTED_FROM)

    def _looked_at(self, picture: NDArray[np.uint8], face: Detections) -> Detections:
        """One detection, or what a second look in its place is surest of."""
        surest = face
        for turns in (_QUARTERS, _BETWEEN):
            # A face at any angle is known for one after the quarters; what is none by then costs no more.
            if surest.det_scores[0] >= SURE_FROM or (turns is _BETWEEN and surest.det_scores[0] < REPORTED_FROM):
                break
            for turn in turns:
                seen = self._window(picture, face, turn)
                if seen is not None and seen.det_scores[0] > surest.det_scores[0]:
                    surest = seen
                if turns is _QUARTERS and surest.det_scores[0] >= SURE_FROM:
                    break
        return surest if surest.det_scores[0] > face.det_scores[0] + _LEAST_GAIN else face

    def _window(self, picture: NDArray[np.uint8], face: Detections, turn: float) -> Detections | None:
        """The best detection in the place of ``face``, in a window turned counter-clockwise by ``turn`` degrees."""
        matrix = _window_matrix(face.boxes[0], turn)
        window = cv2.warpAffine(picture, matrix, (WINDOW_PX, WINDOW_PX), flags=cv2.INTER_LINEAR, borderValue=0)
        seen = self._close.detect(np.asarray(window, np.uint8))
        middle = WINDOW_PX / 2
        holds = ((seen.boxes[:, :2] <= middle) & (seen.boxes[:, 2:] >= middle)).all(axis=1)
        return _restored(seen.take(np.flatnonzero(holds)[:1]), matrix, turn) if holds.any() else None


def _window_matrix(box: NDArray[np.float32], turn: float) -> NDArray[np.float64]:
    """From picture to window pixels: the box's middle in the middle, turned counter-clockwise by ``turn`` degrees."""
    middle = (float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2)
    scale = WINDOW_PX / (_REACH * max(1.0, float(box[2] - box[0]), float(box[3] - box[1])))
    matrix = np.asarray(cv2.getRotationMatrix2D(middle, turn, scale), np.float64)
    matrix[:, 2] += WINDOW_PX / 2 - np.array(middle)
    return matrix


def _restored(seen: Detections, matrix: NDArray[np.float64], turn: float) -> Detections:
    """One detection of a window in pixels of the picture; the box holds the turned box's ellipse, as a face is one."""
    back = np.asarray(cv2.invertAffineTransform(matrix), np.float64)
    corners = seen.boxes[0].astype(np.float64)
    middle = back[:, :2] @ ((corners[:2] + corners[2:]) / 2) + back[:, 2]
    across, down = (corners[2:] - corners[:2]) / 2 * math.hypot(back[0, 0], back[1, 0])
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    half = np.array([math.hypot(across * cosine, down * sine), math.hypot(across * sine, down * cosine)])
    landmarks = seen.landmarks[0].astype(np.float64) @ back[:, :2].T + back[:, 2]
    return Detections(
        boxes=np.concatenate([middle - half, middle + half])[np.newaxis].astype(np.float32),
        landmarks=landmarks[np.newaxis].astype(np.float32),
        det_scores=seen.det_scores,
    )
