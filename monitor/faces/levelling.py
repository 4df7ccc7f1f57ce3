"""Embeds a face again, turned a little, where the recogniser makes little of it.

YuNet's landmarks follow a tilt of 20 degrees by only two or three, so that the crop is not upright although the
detector is sure. What tells is the length of the recogniser's feature: it falls with the quality of the crop (Meng et
al., MagFace, 2021; Kim et al., AdaFace, 2022). So the turn that makes the longest feature is the upright one, whoever
it is.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from monitor.faces.align import CROP_PX, TEMPLATE, similarities
from monitor.faces.embedded import Embedded, Embedder

DOUBTED_BELOW = 10.0
"""Length of SFace's feature. Upright faces have 11 to 14, tilted by 20 degrees 9, covered or blurred ones 9 to 11."""

_TURNS = (15.0, -15.0)
_LEAST_GAIN = 1.08
"""Times the length: less is chance."""


class Leveller:
    """Improves the embedding of at most one face of a picture: each costs two more embeddings."""

    def __init__(self, recogniser: Embedder) -> None:
        self._recogniser = recogniser

    def level(self, picture: NDArray[np.uint8], landmarks: NDArray[np.float32], embedded: Embedded) -> Embedded:
        """``embedded`` with the first doubtful embedding replaced by that of the same face turned, if that is better.

        :param picture: shape (H, W, 3), BGR.
        :param landmarks: shape (n, 5, 2), of the faces that were embedded, in the same order.
        """
        doubtful = np.flatnonzero(embedded.lengths < DOUBTED_BELOW)
        if not doubtful.size:
            return embedded
        index = int(doubtful[0])
        turned = self._recogniser.embed_measured([_turned_crop(picture, landmarks[index], turn) for turn in _TURNS])
        best = int(turned.lengths.argmax())
        if turned.lengths[best] < _LEAST_GAIN * embedded.lengths[index]:
            return embedded
        embeddings, lengths = embedded.embeddings.copy(), embedded.lengths.copy()
        embeddings[index], lengths[index] = turned.embeddings[best], turned.lengths[best]
        return Embedded(embeddings=embeddings, lengths=lengths)


def _turned_crop(picture: NDArray[np.uint8], landmarks: NDArray[np.float32], degrees: float) -> NDArray[np.uint8]:
    """As :func:`monitor.faces.align.aligned_crops`, turned counter-clockwise about the face's middle."""
    middle = TEMPLATE.mean(axis=0)
    turn = cv2.getRotationMatrix2D((float(middle[0]), float(middle[1])), degrees, 1.0)
    matrix = turn @ np.vstack([similarities(landmarks[np.newaxis])[0], [0.0, 0.0, 1.0]])
    return np.asarray(cv2.warpAffine(picture, matrix, (CROP_PX, CROP_PX), borderValue=0), dtype=np.uint8)
