"""Which keyframes are analysed."""

from __future__ import annotations

from collections.abc import Callable
from random import uniform

from monitor.streams.sampling import Attention, SamplingPlan

_LEAST_PART = 0.8


class Sampler:
    """Says which keyframes are due, at about one for each interval of stream time that the plan asks for.

    A keyframe is due once the interval * U(0.8, 1) has passed since the last one that was taken. The jitter
    keeps what is shown in step with the interval from never being seen; its upper bound of 1 lets a stream
    whose GOP equals the interval be sampled at every keyframe.
    """

    def __init__(self, plan: SamplingPlan, draw: Callable[[float, float], float] = uniform) -> None:
        self._plan = plan
        self._draw = draw
        self._interval_s = plan.start_s
        self._taken_at: float | None = None
        self._due_at: float | None = None

    @property
    def interval_s(self) -> float:
        """Seconds of stream time between two samples now; 0 for every keyframe."""
        return self._interval_s

    @property
    def due_at(self) -> float | None:
        """Stream time from which the next keyframe is due; None: the next one is."""
        return self._due_at

    def reset(self) -> None:
        """Stream time starts anew: the next keyframe is due."""
        self._taken_at = self._due_at = None

    def settle(self, attention: Attention) -> None:
        """Go on at the interval that the last picture calls for; a shorter one counts from that picture on."""
        before, self._interval_s = self._interval_s, self._plan.after(self._interval_s, attention)
        if self._taken_at is not None and self._due_at is not None and self._interval_s != before:
            due_at = self._next(self._taken_at)
            self._due_at = min(self._due_at, due_at) if self._interval_s < before else due_at

    def take(self, stream_time: float, *, fetched_for_it: bool = False) -> bool:
        """Whether the keyframe shown at ``stream_time`` (seconds) is due; if so, it counts as taken.

        :param fetched_for_it: the source fetched this one because one was due. Its own clock may say that it comes
            a moment early, as a playlist's durations are rounded.
        """
        if self._due_at is not None and stream_time < self._due_at and not fetched_for_it:
            return False
        self._taken_at = stream_time
        self._due_at = self._next(stream_time)
        return True

    def _next(self, taken_at: float) -> float:
        return taken_at + self._interval_s * self._draw(_LEAST_PART, 1.0)
