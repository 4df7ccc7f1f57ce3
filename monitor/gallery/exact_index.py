"""Nearest references by looking at every one of them."""

from __future__ import annotations

from collections.abc import Sequence

import faiss
import numpy as np
from numpy.typing import NDArray

from monitor.faces.face import Embedding
from monitor.gallery.embedding_blocks import blocks

# Probes x dimensions from which FAISS multiplies matrices, on one thread three times as fast for many probes and three
# times as slow for one; its own value of 128,000 suits many threads.
faiss.cvar.distance_compute_blas_threshold = 1024


class ExactIndex:
    """A flat inner-product index. Filled once and never changed, so any thread may search it."""

    kind = "flat"

    def __init__(self, embeddings: Sequence[Embedding]) -> None:
        """
        :param embeddings: each of shape (D,), float32, L2-normalised; at least one.
        """
        self._index = faiss.IndexFlatIP(len(embeddings[0]))
        for block in blocks(embeddings):
            self._index.add(block)

    @property
    def nbytes(self) -> int:
        """Bytes held beside the embeddings that it was built of."""
        return int(self._index.ntotal * self._index.code_size)

    def search(self, probes: NDArray[np.float32], depth: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The ``depth`` nearest rows of each probe, nearest first; exact.

        :param probes: shape (n, D), finite.
        :param depth: at most the number of embeddings.
        :returns: cosines and row numbers, each of shape (n, depth).
        """
        cosines, rows = self._index.search(probes, depth)
        return cosines, rows
