"""How often a room is looked at: the policies, and what the analysis tells them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_QUIET_GROWTH = 1.25
_PERMITTED_GROWTH = 2.0


class SamplingPolicy(StrEnum):
    """Which keyframes of a stream are analysed."""

    INTERVAL = "interval"
    """About one every ``sample_interval``."""
    ADAPTIVE = "adaptive"
    """As ``interval`` while somebody resembles a protected person, else slower and slower up to ``max_interval``."""
    EVERY_KEYFRAME = "every_keyframe"


class Attention(StrEnum):
    """What the last picture of a stream calls for."""

    QUIET = "quiet"
    """Nobody in it resembles a protected person."""
    CANDIDATE = "candidate"
    """Somebody does; nothing is proven."""
    UNDECIDED = "undecided"
    """Somebody does, and denser pictures now would decide it."""
    PERMITTED = "permitted"
    """Somebody protected is proven, and may be shown here."""
    VIOLATION = "violation"
    """Somebody protected is proven who may not be shown here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingPlan:
    """A policy with its settings. Pure: the interval that was used goes in, the next one comes out."""

    policy: SamplingPolicy
    interval_s: float
    """Seconds of stream time between two pictures while anything is going on."""
    max_interval_s: float
    """Most seconds between two pictures of a quiet or settled room."""
    keyframes_only: bool = False
    """There is no ring to cut denser pictures from: what is undecided needs every keyframe."""

    @property
    def start_s(self) -> float:
        """The interval before anything was seen; 0 means every keyframe."""
        return 0.0 if self.policy is SamplingPolicy.EVERY_KEYFRAME else self.interval_s

    @property
    def longest_s(self) -> float:
        """The longest interval that the plan can come to."""
        return max(self.interval_s, self.max_interval_s) if self.policy is SamplingPolicy.ADAPTIVE else self.interval_s

    def after(self, current_s: float, attention: Attention) -> float:
        """The interval after a picture that called for ``attention``, when ``current_s`` led to it.

        A quiet room slows down gradually, because what was quiet for long tends to stay so; a settled one
        quickly, because only a change of person matters there; anything else is looked at as often as before.
        """
        if self.keyframes_only and attention is Attention.UNDECIDED:
            return 0.0
        if self.policy is not SamplingPolicy.ADAPTIVE:
            return self.start_s
        growth = {Attention.QUIET: _QUIET_GROWTH, Attention.PERMITTED: _PERMITTED_GROWTH}.get(attention)
        if growth is None:
            return self.interval_s
        return min(self.longest_s, max(current_s, self.interval_s) * growth)
