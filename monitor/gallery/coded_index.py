"""Nearest references among very many: a few bits of each find candidates, the embeddings of those rank them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from monitor.faces.face import Embedding
from monitor.gallery.embedding_blocks import blocks, side_by_side
from monitor.gallery.long_sequence import LongSequence

LEAST_CANDIDATES = 3072
"""Rows whose embeddings are compared with a probe, and at least"""
CANDIDATES_ONE_IN = 192
"""this share of all. Among a million, a mated probe's nearest reference was always among the first five by their codes;
that of a stranger was among these except for about one in a thousand."""

_BITS = 512
"""Of a code at least. Embeddings of fewer dimensions are rotated into as many, which keeps their cosines and makes the
code of 128 dimensions as telling as that of 512."""
_SEED = 1
"""Of the rotation: the same references always give the same index."""
_MOST_NEW = 0.5
"""With a larger share of new rows the centre is measured anew."""


class CodedIndex:
    """RaBitQ codes (Gao and Long, SIGMOD 2024, doi 10.1145/3654970) of all references, and the references themselves.

    A code holds the signs of the rotated embedding. What it says of a cosine is wrong by some 0.03, far less than what
    lies between a mated reference and the rest, so the references that matter are among the candidates; of a
    stranger, whose nearest references are all about as far, the nearest may be missed for one that is as near as makes
    no difference. Similarities are exact: they are computed from the embeddings.

    Nothing is learnt but the mean, so building takes one pass, and every row is looked at however the faces are spread.
    Filled once and never changed, so any thread may search it.
    """

    kind = "rabitq"

    def __init__(self, embeddings: Sequence[Embedding], previous: CodedIndex | None = None) -> None:
        """
        :param embeddings: each of shape (D,), float32, L2-normalised; at least one; kept, not copied.
        :param previous: of whose embeddings (the same objects) the codes are taken over; what remains to do is the
            work of the new ones.
        """
        self._embeddings = embeddings if isinstance(embeddings, LongSequence) else LongSequence(embeddings)
        dimension = len(embeddings[0])
        self._ids = np.fromiter((id(one) for one in self._embeddings), np.int64, len(embeddings))
        before = np.full(len(embeddings), -1, np.int64) if previous is None else previous._rows_of(self._ids)
        if previous is None or (before < 0).mean() > _MOST_NEW:
            previous, before = None, np.full(len(embeddings), -1, np.int64)
            self._rotation = faiss.RandomRotationMatrix(dimension, max(dimension, _BITS))
            self._rotation.init(_SEED)
            self._centre = self._rotation.apply(_mean(embeddings))
        else:
            self._rotation, self._centre = previous._rotation, previous._centre
        # FAISS's type stubs lack most of it.
        self._codes: Any = faiss.IndexRaBitQ(self._rotation.d_out, faiss.METRIC_INNER_PRODUCT)
        # The mean of one row is that row.
        self._codes.train(self._centre)
        self._encode(before, previous)

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
        count = len(self._embeddings)
        wanted = min(max(LEAST_CANDIDATES, count // CANDIDATES_ONE_IN, 2 * depth), count)
        _, candidates = self._codes.search(self._rotation.apply(probes), wanted)
        cosines = np.full((len(probes), depth), -1, np.float32)
        rows = np.full((len(probes), depth), -1, np.int64)
        for number, (probe, found) in enumerate(zip(probes, candidates, strict=True)):
            self._rank(probe, found[found >= 0], cosines[number], rows[number])
        return cosines, rows

    def _encode(self, before: NDArray[np.int64], previous: CodedIndex | None) -> None:
        """Fill ``_codes``: row i has the code of the previous row ``before[i]``, or a new one where that is -1."""
        taken_over = None if previous is None else previous._all_codes()
        first = 0
        for block in blocks(self._embeddings):
            known = before[first : first + len(block)]
            codes = np.empty((len(block), self._codes.code_size), np.uint8)
            if taken_over is not None:
                codes[known >= 0] = taken_over[known[known >= 0]]
            if (known < 0).any():
                codes[known < 0] = self._codes.sa_encode(self._rotation.apply(block[known < 0]))
            self._codes.add_sa_codes(codes)
            first += len(block)

    def _all_codes(self) -> NDArray[np.uint8]:
        codes: NDArray[np.uint8] = faiss.vector_to_array(self._codes.codes)
        return codes.reshape(-1, self._codes.code_size)

    def _rows_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row of each embedding that is the same object as one of these, -1 for the others."""
        # A dict of so many holds the interpreter's lock while it grows; these let go of it.
        order = np.argsort(self._ids, kind="stable")
        at = order[np.minimum(np.searchsorted(self._ids, ids, sorter=order), len(order) - 1)]
        return np.where(self._ids[at] == ids, at, -1)

    def _rank(
        self,
        probe: NDArray[np.float32],
        candidates: NDArray[np.int64],
        cosines: NDArray[np.float32],
        rows: NDArray[np.int64],
    ) -> None:
        """Fill ``cosines`` and ``rows`` with the nearest of ``candidates``; of two as near, the smaller row first."""
        # A product by matrix would wake the threads of NumPy's BLAS for nothing.
        exact = np.vecdot(side_by_side(self._embeddings.at(candidates)), probe)
        nearest = np.lexsort((candidates, -exact))[: len(rows)]
        cosines[: len(nearest)] = exact[nearest]
        rows[: len(nearest)] = candidates[nearest]


def _mean(embeddings: Sequence[Embedding]) -> NDArray[np.float32]:
    """Shape (1, D)."""
    total = sum(block.sum(axis=0, dtype=np.float64) for block in blocks(embeddings))
    return np.asarray(total / len(embeddings), np.float32)[np.newaxis]
