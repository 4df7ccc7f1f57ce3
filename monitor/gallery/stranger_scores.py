"""How similar strangers are to a protected person."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from monitor.gallery.score_tail import Tail

NORMAL = NormalDist()

_HIGHEST_NORMAL_SCORE = 37.0
"""Beyond it a probability is no longer a float."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrangerScores:
    """Similarities of faces to somebody they are not: a normal body and a generalised Pareto tail.

    The tail is never lighter than the body's own: a fitted end, beyond which nothing is possible, would only be the end
    of what was observed.
    """

    centre: float
    """Median, cosine."""
    spread: float
    """Of the upper half, as a standard deviation; robust."""
    tail: Tail

    def __post_init__(self) -> None:
        if not (-1 < self.centre < self.tail.threshold and 0 < self.spread < 1):
            raise ValueError(
                f"centre {self.centre} and spread {self.spread}: expected -1 < centre < tail threshold, 0 < spread < 1"
            )

    def false_match_rate(self, similarity: float) -> float:
        """Share of strangers at or above ``similarity``."""
        tail = self.tail
        if similarity <= tail.threshold:
            inside = NORMAL.cdf(self._deviation(similarity)) / NORMAL.cdf(self._deviation(tail.threshold))
            return 1 - (1 - tail.exceedance) * inside
        body = _upper(self._deviation(similarity)) / _upper(self._deviation(tail.threshold))
        return max(tail.survival(similarity), tail.exceedance * body)

    def normal_score(self, similarity: float) -> float:
        """``similarity`` on the scale on which strangers are standard normal: 4 is 1 stranger in 31,600."""
        rate = self.false_match_rate(similarity)
        if rate <= 0.5:
            return min(_HIGHEST_NORMAL_SCORE, -NORMAL.inv_cdf(max(rate, 1e-299)))
        return NORMAL.inv_cdf(max(1 - rate, 1e-299))

    def similarity_at(self, false_match_rate: float) -> float:
        """The similarity that this share of strangers reaches; 1 where even that is too low."""
        low, high = -1.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if self.false_match_rate(middle) > false_match_rate else (low, middle)
        return high

    def _deviation(self, similarity: float) -> float:
        return (similarity - self.centre) / self.spread


def _upper(deviation: float) -> float:
    """Share of a standard normal above ``deviation``, exact far out."""
    return 0.5 * math.erfc(deviation / math.sqrt(2))
