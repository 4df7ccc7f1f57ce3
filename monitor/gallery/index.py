"""The references nearest to a probe, by the index that suits their number; FAISS is loaded only here and beside it."""

from __future__ import annotations

from collections.abc import Sequence

import faiss
import numpy as np
from numpy.typing import NDArray

from monitor.faces.face import Embedding
from monitor.gallery.coded_index import CodedIndex
from monitor.gallery.exact_index import ExactIndex

# Searches are short and come from one place; FAISS's own threads would only compete with the vision workers.
faiss.omp_set_num_threads(1)

EXACT_UP_TO_BYTES = 128 << 20
"""Embeddings up to this size are all compared with every probe: 65,536 references of 512 dimensions, 262,144 of 128."""


class ReferenceIndex:
    """Filled once and never changed, so any thread may search it.

    Up to ``EXACT_UP_TO_BYTES`` of embeddings it is exact (:class:`ExactIndex`); beyond, reading them all for one probe
    would hold the event loop for too long, and :class:`CodedIndex` reads a thirtieth of that. Either way
    similarities are exact; what the codes may miss is said there.
    """

    def __init__(self, embeddings: Sequence[Embedding], previous: ReferenceIndex | None = None) -> None:
        """
        :param embeddings: each of shape (D,), float32, contiguous, L2-normalised, or one array of shape (N, D); N >= 1.
            Must not be changed afterwards.
        :param previous: an index of nearly the same embeddings (the same objects), which makes this one quicker to
            build where there are very many.
        """
        kinds = {(one.shape, one.dtype, one.flags.c_contiguous) for one in embeddings}
        shape, dtype, contiguous = next(iter(kinds), ((), None, False))
        if len(kinds) != 1 or len(shape) != 1 or dtype != np.float32 or not contiguous:
            raise ValueError(f"embeddings are {sorted(map(str, kinds))}, expected one shape (D,), contiguous float32")
        self.count, self.dimension = len(embeddings), shape[0]
        self._index: ExactIndex | CodedIndex
        if 4 * self.count * self.dimension <= EXACT_UP_TO_BYTES:
            self._index = ExactIndex(embeddings)
        else:
            before = previous._index if previous is not None and previous.dimension == self.dimension else None
            self._index = CodedIndex(embeddings, before if isinstance(before, CodedIndex) else None)

    @property
    def kind(self) -> str:
        """``flat`` or ``rabitq``."""
        return self._index.kind

    @property
    def nbytes(self) -> int:
        """Bytes held beside the embeddings."""
        return self._index.nbytes

    def search(self, probes: NDArray[np.float32], depth: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The ``depth`` nearest rows of each probe, nearest first.

        :param probes: shape (n, D), L2-normalised.
        :returns: cosines, shape (n, k), and row numbers, shape (n, k), with k = min(depth, N); the row number is -1
            where a probe is not finite.
        """
        if probes.ndim != 2 or probes.shape[1] != self.dimension:
            raise ValueError(f"probes have shape {probes.shape}, expected (n, {self.dimension})")
        finite = np.isfinite(probes).all(axis=1, keepdims=True)
        asked = np.ascontiguousarray(np.where(finite, probes, 0), dtype=np.float32)
        cosines, rows = self._index.search(asked, min(depth, self.count))
        return np.where(finite, cosines, -1), np.where(finite, rows, -1)
