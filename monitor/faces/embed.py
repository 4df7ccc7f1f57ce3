"""Embeds aligned crops, normalised as InsightFace's ArcFaceONNX does."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from numpy.typing import NDArray

from monitor.errors import PackError
from monitor.faces.align import CROP_PX
from monitor.faces.embedded import Embedded
from monitor.faces.providers import Session

log = logging.getLogger(__name__)

MOST_AT_ONCE = 8
"""Crops that are embedded in one run; more would be no quicker and take the more memory."""

_SAME_COSINE = 0.9999


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
        self.mean, self.std = float(normalisation.input_mean), float(normalisation.input_std)
        """What the network wants taken from every value, and the rest divided by."""
        self._session = session
        self._input, self._output = session.get_inputs()[0].name, gives[0].name
        # Some networks were exported for one crop at a time.
        self._most = 1 if takes[0] == 1 else MOST_AT_ONCE
        self._memory = np.zeros((self._most, 3, CROP_PX, CROP_PX), np.float32)
        if self._most > 1 and not self._keeps_crops_apart():
            log.warning("recogniser_one_at_a_time file=%s reason=in a batch it gives other vectors", path.name)
            self._most = 1
        self.dimension = int(self.embed([_probe(0)]).shape[1])

    def embed(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """One L2-normalised embedding for each crop.

        :param crops: aligned, each of shape (112, 112, 3), BGR; at least one.
        :return: shape (n, D).
        """
        return self.embed_measured(crops).embeddings

    def embed_measured(self, crops: Sequence[NDArray[np.uint8]]) -> Embedded:
        """As :meth:`embed`, with how clear the network found each face."""
        batches = [self._run(crops[begin : begin + self._most]) for begin in range(0, len(crops), self._most)]
        return Embedded.of(np.concatenate(batches))

    def _keeps_crops_apart(self) -> bool:
        """Whether two crops at once give what each gives alone; some exports mix the crops of a batch, or refuse it."""
        crops = [_probe(0), _probe(1)]
        alone = np.concatenate([self.embed([crop]) for crop in crops])
        try:
            together = self.embed(crops)
        # ONNX Runtime's own exceptions share no base class below Exception.
        except Exception:
            log.info("recogniser_refused_a_batch", exc_info=True)
            return False
        return together.shape == alone.shape and bool(((together * alone).sum(axis=1) >= _SAME_COSINE).all())

    def _run(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """What the network says of one batch."""
        blob = self._memory[: len(crops)]
        for planes, crop in zip(blob, crops, strict=True):
            for plane, channel in zip(planes, reversed(cv2.split(crop)), strict=True):
                plane[...] = channel
        if (self.mean, self.std) != (0.0, 1.0):
            np.subtract(blob, np.float32(self.mean), out=blob)
            np.divide(blob, np.float32(self.std), out=blob)
        return np.asarray(self._session.run([self._output], {self._input: blob})[0], np.float32)


def _probe(number: int) -> NDArray[np.uint8]:
    """A crop of noise, always the same for its number."""
    return np.random.default_rng(number).integers(0, 256, (CROP_PX, CROP_PX, 3), dtype=np.uint8)
