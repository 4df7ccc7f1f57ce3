"""What a similarity is worth: how often strangers reach it, how often the person does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from monitor.gallery.stranger_scores import StrangerScores

UNRECOGNISABLE = 0.1
"""Share of a person's own pictures that look like anybody: turned away, blurred, covered. Such a picture says little
against the person, so it must not outweigh clear ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchingScores:
    """Similarities of a person's faces in video to their own references."""

    centre: float
    """Median, cosine."""
    spread: float
    """As a standard deviation; robust."""

    def __post_init__(self) -> None:
        if not (0 < self.centre < 1 and 0 < self.spread < 0.5):
            raise ValueError(f"{self}: expected a centre in (0, 1) and a spread in (0, 0.5)")


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityScores:
    """How similar strangers are to one identity; shrunk towards the pack's figures where it was observed little."""

    centre: float
    spread: float
    observations: int

    def __post_init__(self) -> None:
        if not (-1 < self.centre < 1 and 0 < self.spread < 1):
            raise ValueError(f"{self}: expected a centre in (-1, 1) and a spread in (0, 1)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Turns similarities of one pack into rates and likelihoods. Never used with another pack."""

    pack_name: str
    pack_digest: str
    source: str
    """Where the figures come from, in words."""
    observations: int
    """Similarities between different people that were fitted; 0 where the figures were published."""
    strangers: StrangerScores
    matching: MatchingScores
    persistence: float
    """Correlation of a stranger's similarity between pictures far apart in one track: how much of a resemblance is the
    face itself and stays, however often one looks."""
    identities: Mapping[str, IdentityScores] = field(default_factory=dict)
    """Those of their own; all others have the pack's."""

    def __post_init__(self) -> None:
        if not 0 <= self.persistence < 1:
            raise ValueError(f"persistence {self.persistence}: expected 0 to below 1")

    def false_match_rate(self, similarity: float, identity_id: str | None = None) -> float:
        """Share of strangers whose picture is at or above ``similarity`` to the identity (None: to any one)."""
        return self.strangers.false_match_rate(self._normalised(similarity, identity_id))

    def normal_score(self, similarity: float, identity_id: str | None = None) -> float:
        """``similarity`` on the scale on which strangers are standard normal, for every identity alike."""
        return self.strangers.normal_score(self._normalised(similarity, identity_id))

    def similarity_at(self, false_match_rate: float, identity_id: str | None = None) -> float:
        """The identity's threshold for a false match rate; capped at 1."""
        pack_wide = self.strangers.similarity_at(false_match_rate)
        own = self.identities.get(identity_id or "")
        if own is None:
            return pack_wide
        return min(1.0, own.centre + own.spread * (pack_wide - self.strangers.centre) / self.strangers.spread)

    def log_likelihood_ratio(self, similarity: float, identity_id: str | None = None) -> float:
        """log p(similarity | the identity) / p(similarity | a stranger), natural; never falls as similarity rises."""
        return self.log_likelihood_ratio_of(self.normal_score(similarity, identity_id))

    def log_likelihood_ratio_of(self, normal_score: float) -> float:
        """The same from a normal score. A ratio of densities does not depend on the scale, and on this one the
        strangers' density is known. The person's spread is at least the strangers', or more could count less."""
        centre, spread = self.matching_on_normal_scale
        lowest = -centre / (spread**2 - 1) if spread > 1 else -math.inf
        score = max(normal_score, lowest)
        ratio = -math.log(spread) - ((score - centre) / spread) ** 2 / 2 + score**2 / 2
        if ratio > 300:
            return ratio + math.log1p(-UNRECOGNISABLE)
        return math.log(UNRECOGNISABLE + (1 - UNRECOGNISABLE) * math.exp(ratio))

    @property
    def matching_on_normal_scale(self) -> tuple[float, float]:
        """Centre and spread, at least 1, of the person's own pictures as normal scores."""
        own = self.matching
        low, centre, high = (
            self.strangers.normal_score(min(1.0, own.centre + side * own.spread)) for side in (-1, 0, 1)
        )
        return centre, max(1.0, (high - low) / 2)

    def _normalised(self, similarity: float, identity_id: str | None) -> float:
        """``similarity`` as if the identity attracted strangers as the pack's average does (Z-norm, Auckenthaler,
        Carey & Lloyd-Thomas 2000)."""
        own = self.identities.get(identity_id or "")
        if own is None:
            return similarity
        return self.strangers.centre + self.strangers.spread * (similarity - own.centre) / own.spread
