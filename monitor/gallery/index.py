"""Exact nearest references by inner product; the only module that loads FAISS."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

# Between 20 probes and FAISS's own switch-over a regression makes flat search several times slower than BLAS.
faiss.cvar.distance_compute_blas_threshold = 20
# Searches are short and come from one place; FAISS's own threads would only compete with the vision workers.
faiss.omp_set_num_threads(1)


class ReferenceIndex:
    """A flat inner-product index that is filled once and never changed, so any thread may search it."""

    def __init__(self, embeddings: NDArray[np.float32]) -> None:
        """
        :param embeddings: shape (N, D), L2-normalised, N >= 1.
        """
        if embeddings.ndim != 2 or not len(embeddings):
            raise ValueError(f"embeddings have shape {embeddings.shape}, expected (N, D) with N >= 1")
        self.count, self.dimension = embeddings.shape
        self._index = faiss.IndexFlatIP(self.dimension)
        self._index.add(np.ascontiguousarray(embeddings, dtype=np.float32))

    def search(self, probes: NDArray[np.float32], depth: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The ``depth`` nearest rows of each probe, nearest first.

        :param probes: shape (n, D), L2-normalised.
        :returns: cosines, shape (n, k), and row numbers, shape (n, k), with k = min(depth, N); the row number is -1
            where a probe is not finite.
        """
        if probes.ndim != 2 or probes.shape[1] != self.dimension:
            raise ValueError(f"probes have shape {probes.shape}, expected (n, {self.dimension})")
        cosines, rows = self._index.search(np.ascontiguousarray(probes, dtype=np.float32), min(depth, self.count))
        return cosines, rows
