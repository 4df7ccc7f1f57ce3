"""What recognition networks give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_LEAST_NORM = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """What became of some crops, in their order."""

    embeddings: NDArray[np.float32] = field(repr=False)
    """Shape (n, D), L2-normalised."""
    lengths: NDArray[np.float32]
    """Shape (n,): of the network's features before they were normalised; the longer, the clearer the face."""

    @classmethod
    def of(cls, features: NDArray[np.float32]) -> Embedded:
        """What a network says of n crops: shape (n, D)."""
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        embeddings: NDArray[np.float32] = features / np.maximum(lengths, np.float32(_LEAST_NORM))
        return cls(embeddings=embeddings, lengths=lengths[:, 0])


class Embedder(Protocol):
    """Something that runs a recogniser."""

    def embed_measured(self, crops: Sequence[NDArray[np.uint8]]) -> Embedded:
        """One embedding for each crop, and how clear the network found each face.

        :param crops: aligned, each of shape (112, 112, 3), BGR; at least one.
        """
