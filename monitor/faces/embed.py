"""Embeds aligned crops, through InsightFace's ArcFaceONNX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from numpy.typing import NDArray

from monitor.errors import PackError
from monitor.faces.align import CROP_PX
from monitor.faces.providers import Session

_LEAST_NORM = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """What became of some crops, in their order."""

    embeddings: NDArray[np.float32] = field(repr=False)
    """Shape (n, D), L2-normalised."""
    lengths: NDArray[np.float32]
    """Shape (n,): of the network's features before they were normalised; the longer, the clearer the face."""


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
        self._network = ArcFaceONNX(model_file=str(path), session=session)
        self.dimension = int(self.embed([np.zeros((CROP_PX, CROP_PX, 3), np.uint8)]).shape[1])

    def embed(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """One L2-normalised embedding for each crop.

        :param crops: aligned, each of shape (112, 112, 3), BGR; at least one.
        :return: shape (n, D).
        """
        return self.embed_measured(crops).embeddings

    def embed_measured(self, crops: Sequence[NDArray[np.uint8]]) -> Embedded:
        """As :meth:`embed`, with how clear the network found each face."""
        features: NDArray[np.float32] = np.asarray(self._network.get_feat(list(crops)), np.float32)
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        embeddings: NDArray[np.float32] = features / np.maximum(lengths, np.float32(_LEAST_NORM))
        return Embedded(embeddings=embeddings, lengths=lengths[:, 0])
