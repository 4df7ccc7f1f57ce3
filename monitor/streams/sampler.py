"""Which keyframes are analysed."""

from __future__ import annotations

from collections.abc import Callable
from random import uniform

_LEAST_PART = 0.8


class Sampler:
    """Says which keyframes are due, at about one every ``interval_s`` of stream time.

    A keyframe is due once ``interval_s`` * U(0.8, 1) has passed since the last one that was taken. The jitter
    keeps what is shown in step with the interval from never being seen; its upper bound of 1 lets a stream
    whose GOP equals the interval be sampled at every keyframe.
    """

    def __init__(self, interval_s: float, draw: Callable[[float, float], float] = uniform) -> None:
        self._interval_s = interval_s
        self._draw = draw
        self._due_at: float | None = None

    def reset(self) -> None:
        """Stream time starts anew: the next keyframe is due."""
        self._due_at = None

    def take(self, stream_time: float) -> bool:
        """Whether the keyframe shown at ``stream_time`` (seconds) is due; if so, it counts as taken."""
        if self._due_at is not None and stream_time < self._due_at:
            return False
        self._due_at = stream_time + self._interval_s * self._draw(_LEAST_PART, 1.0)
        return True
