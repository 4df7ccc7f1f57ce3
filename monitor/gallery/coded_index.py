"""Nearest references among very many: a bit for each dimension finds candidates, their embeddings rank them."""

from __future__ import annotations

from collections.abc import Sequence

import faiss
import numpy as np
from numpy.typing import NDArray

from monitor.faces.face import Embedding
from monitor.gallery.embedding_blocks import blocks

CANDIDATES = 1024
"""Rows whose embeddings are compared with a probe; chosen by measurement, see ``monitor bench gallery``."""

_SEED = 1
"""Of the rotation: the same references always give the same index."""
_CENTRED_ON = 65_536
"""Rows, spread over all, whose mean the codes are relative to."""


class CodedIndex:
    """RaBitQ codes (Gao and Long, SIGMOD 2024, doi 10.1145/3654970) of all references, in FAISS's FastScan layout.

    A code holds the signs of the rotated embedding. What it says of a cosine is wrong by about 0.75 / sqrt(D), which is
    far less than what lies between a mated reference and the rest, so the references that matter are among the
    candidates; of a stranger, whose nearest references are all about as far, the nearest may be missed for one that
    is as near as makes no difference. Similarities are exact: they are computed from the embeddings.

    Nothing is learnt but the mean, so building takes one pass, and every row is looked at, however the faces are
    spread. Filled once and never changed, so any thread may search it.
    """

    kind = "rabitq"

    def __init__(self, embeddings: Sequence[Embedding]) -> None:
        """
        :param embeddings: each of shape (D,), float32, L2-normalised; at least one; kept, not copied.
        """
        self._embeddings = embeddings
        dimension = len(embeddings[0])
        self._rotation = faiss.RandomRotationMatrix(dimension, dimension)
        self._rotation.init(_SEED)
        self._codes = faiss.IndexRaBitQFastScan(dimension, faiss.METRIC_INNER_PRODUCT)
        sample = embeddings[:: -(-len(embeddings) // _CENTRED_ON)]
        self._codes.train(np.concatenate([self._rotation.apply(block) for block in blocks(sample)]))
        for block in blocks(embeddings):
            self._codes.add(self._rotation.apply(block))

    @property
    def nbytes(self) -> int:
        """Bytes held beside the embeddings that it was built of."""
        return int(self._codes.codes.size())

    def search(self, probes: NDArray[np.float32], depth: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The ``depth`` nearest rows of each probe among its candidates, nearest first.

        :param probes: shape (n, D), finite.
        :param depth: at most the number of embeddings.
        :returns: exact cosines and row numbers, each of shape (n, depth).
        """
        # As many again as are asked for: the best identity's references must not leave its runner-up without a place.
        wanted = min(max(CANDIDATES, 2 * depth), len(self._embeddings))
        _, candidates = self._codes.search(self._rotation.apply(probes), wanted)
        cosines = np.full((len(probes), depth), -1, np.float32)
        rows = np.full((len(probes), depth), -1, np.int64)
        for number, (probe, found) in enumerate(zip(probes, candidates, strict=True)):
            self._rank(probe, found[found >= 0], cosines[number], rows[number])
        return cosines, rows

    def _rank(
        self,
        probe: NDArray[np.float32],
        candidates: NDArray[np.int64],
        cosines: NDArray[np.float32],
        rows: NDArray[np.int64],
    ) -> None:
        """Fill ``cosines`` and ``rows`` with the nearest of ``candidates``; of two as near, the smaller row first."""
        # Several times as fast as np.stack.
        gathered = np.concatenate([self._embeddings[row] for row in candidates.tolist()])
        exact = gathered.reshape(len(candidates), -1) @ probe
        nearest = np.lexsort((candidates, -exact))[: len(rows)]
        cosines[: len(nearest)] = exact[nearest]
        rows[: len(nearest)] = candidates[nearest]
