"""Embeddings that lie apart in memory, put together a few at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from monitor.faces.face import Embedding
from monitor.gallery.long_sequence import PIECE


def blocks(embeddings: Sequence[Embedding]) -> Iterator[NDArray[np.float32]]:
    """All of them in their order, in arrays of shape (n, D), float32, n <= 4096.

    :param embeddings: each of shape (D,).
    """
    # Copying them holds the interpreter's lock.
    for start in range(0, len(embeddings), PIECE):
        yield np.stack(embeddings[start : start + PIECE]).astype(np.float32, copy=False)
