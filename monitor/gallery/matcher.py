"""From nearest references to the best identity and the one behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from monitor.gallery.identity import Candidate, Match, Reference
from monitor.gallery.index import ReferenceIndex


class Matcher:
    """Compares probes with the references of one gallery snapshot. Immutable."""

    def __init__(self, references: Sequence[Reference], previous: Matcher | None = None) -> None:
        """
        :param previous: of a gallery that is much the same, which makes this one quicker to build.
        """
        self._references = tuple(references)
        self._index: ReferenceIndex | None = None
        if self._references:
            before = None if previous is None else previous._index
            self._index = ReferenceIndex([reference.embedding for reference in self._references], before)
            # Among so many nearest references there are always two identities, if the gallery has two.
            self._depth = max(Counter(reference.identity_id for reference in self._references).values()) + 1

    def match_all(self, probes: NDArray[np.float32]) -> list[Match | None]:
        """The best identity of each probe, however low its similarity; None for a gallery without references.

        An identity's similarity is the highest over its references.

        :param probes: shape (n, D), L2-normalised.
        :raises ValueError: the shape is another.
        """
        if self._index is None or not len(probes):
            return [None] * len(probes)
        cosines, rows = self._index.search(probes, self._depth)
        return [
            self._rank(zip(cosine.tolist(), row.tolist(), strict=True))
            for cosine, row in zip(cosines, rows, strict=True)
        ]

    def _rank(self, hits: Iterable[tuple[float, int]]) -> Match | None:
        best: Candidate | None = None
        for cosine, row in hits:
            if row < 0:
                break
            reference = self._references[row]
            if best is not None and reference.identity_id == best.identity_id:
                continue
            candidate = Candidate(
                identity_id=reference.identity_id, similarity=min(1.0, max(-1.0, cosine)), reference=reference
            )
            if best is not None:
                return Match(best=best, runner_up=candidate)
            best = candidate
        return None if best is None else Match(best=best, runner_up=None)
