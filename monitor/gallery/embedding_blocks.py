"""Embeddings that lie apart in memory, put together a few at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from monitor.faces.face import Embedding
from monitor.gallery.long_sequence import PIECE


def blocks(embeddings: Sequence[Embedding]) -> Iterator[NDArray[np.float32]]:
    """All of them in their order, in arrays of shape (n, D), float32, n <= 4096.

    :param embeddings: each of shape (D,), float32, contiguous.
    """
    for start in range(0, len(embeddings), PIECE):
        yield side_by_side(embeddings[start : start + PIECE])


def side_by_side(embeddings: Sequence[Embedding]) -> NDArray[np.float32]:
    """Copied into one array of shape (n, D), not to be written to.

    :param embeddings: each of shape (D,), float32, contiguous; at least one.
    """
    # np.stack and np.concatenate let go of the interpreter's lock once for each of them: beside a busy thread five
    # thousand have taken two seconds.
    joined = b"".join(embeddings)  # type: ignore[arg-type]  # they are buffers, which NumPy says from Python 3.12 on
    return np.frombuffer(joined, np.float32).reshape(len(embeddings), len(embeddings[0]))
