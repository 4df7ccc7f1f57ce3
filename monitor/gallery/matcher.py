"""From nearest references to the best identity and the one behind it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from monitor.gallery.identity import Candidate, Match, Reference
from monitor.gallery.index import ReferenceIndex
from monitor.gallery.long_sequence import LongSequence


class Matcher:
    """Compares probes with the references of one gallery snapshot. Immutable."""

    def __init__(
        self,
        references: Sequence[Reference],
        previous: Matcher | None = None,
        *,
        look_alikes: Iterable[Reference] = (),
    ) -> None:
        """
        :param references: kept, not copied.
        :param previous: of a gallery that is much the same, which makes this one quicker to build.
        :param look_alikes: references of who is not the identity that they belong to.
        """
        self._references = references
        self._look_alikes: defaultdict[str, list[Reference]] = defaultdict(list)
        for one in look_alikes:
            self._look_alikes[one.identity_id].append(one)
        self._index: ReferenceIndex | None = None
        if self._references:
            before = None if previous is None else previous._index
            embeddings = LongSequence(reference.embedding for reference in self._references)
            self._index = ReferenceIndex(embeddings, before)
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
            self._beside_look_alikes(self._rank(zip(cosine.tolist(), row.tolist(), strict=True)), probe)
            for cosine, row, probe in zip(cosines, rows, probes, strict=True)
        ]

    def _beside_look_alikes(self, match: Match | None, probe: NDArray[np.float32]) -> Match | None:
        """``match`` with the nearest of those who are not its best identity."""
        others = self._look_alikes.get(match.best.identity_id) if match is not None else None
        if match is None or not others:
            return match
        cosines = np.stack([other.embedding for other in others]) @ probe
        nearest = int(cosines.argmax())
        look_alike = Candidate(
            identity_id=match.best.identity_id, similarity=float(cosines[nearest]), reference=others[nearest]
        )
        return replace(match, look_alike=look_alike)

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
