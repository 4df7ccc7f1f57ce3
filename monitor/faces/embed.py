"""Embeds aligned crops, normalised as InsightFace's ArcFaceONNX does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from numpy.typing import NDArray

from monitor.errors import PackError
from monitor.faces.align import CROP_PX
from monitor.faces.providers import Session

MOST_AT_ONCE = 8
"""Crops that are embedded in one run; more would be no quicker and take the more memory."""

_LEAST_NORM = 1e-6


class Recogniser:
    """A recognition network: aligned crops in, embeddings out."""

    def __init__(self, path: Path, session: Session) -> None:
        """:raises PackError: if the network does not turn 112 x 112 crops into one vector each."""
        takes, gives = list(session.get_inputs()[0].shape), session.get_outputs()
        if takes[2:] != [CROP_PX, CROP_PX] or len(gives) != 1:
            raise PackError(
                f"{path} is not a face recognition network: it takes {takes} and gives {len(gives)} outputs, "
                f"expected [batch, 3, {CROP_PX}, {CROP_PX}] and one"
            )
        # InsightFace knows from a network's first nodes how its input is normalised.
        normalisation = ArcFaceONNX(model_file=str(path), session=session)
        self._mean, self._std = float(normalisation.input_mean), float(normalisation.input_std)
        self._session = session
        self._input, self._output = session.get_inputs()[0].name, gives[0].name
        # Some networks were exported for one crop at a time.
        self._most = 1 if takes[0] == 1 else MOST_AT_ONCE
        self._memory = np.zeros((self._most, 3, CROP_PX, CROP_PX), np.float32)
        self.dimension = int(self.embed([np.zeros((CROP_PX, CROP_PX, 3), np.uint8)]).shape[1])

    def embed(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """One L2-normalised embedding for each crop.

        :param crops: aligned, each of shape (112, 112, 3), BGR; at least one.
        :return: shape (n, D).
        """
        batches = [self._run(crops[begin : begin + self._most]) for begin in range(0, len(crops), self._most)]
        features = np.concatenate(batches)
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        embeddings: NDArray[np.float32] = features / np.maximum(lengths, np.float32(_LEAST_NORM))
        return embeddings

    def _run(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """What the network says of one batch."""
        blob = self._memory[: len(crops)]
        for planes, crop in zip(blob, crops, strict=True):
            for plane, channel in zip(planes, reversed(cv2.split(crop)), strict=True):
                plane[...] = channel
        if (self._mean, self._std) != (0.0, 1.0):
            np.subtract(blob, np.float32(self._mean), out=blob)
            np.divide(blob, np.float32(self._std), out=blob)
        return np.asarray(self._session.run([self._output], {self._input: blob})[0], np.float32)
