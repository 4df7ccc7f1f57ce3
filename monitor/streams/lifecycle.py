"""When a stream counts as stalled, when it is given up, and how long to wait then."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from random import uniform

from monitor.errors import StreamError, StreamReason
from monitor.streams.config import StreamsConfig
from monitor.streams.feed import Arrivals

_GOPS_WITHOUT_KEYFRAME = 3.0


class Health(StrEnum):
    """What the arrivals of a connection say."""

    WAITING = "waiting"
    """No keyframe yet, but still in time."""
    WELL = "well"
    STALLED = "stalled"
    """Keyframes stopped coming; the connection is left alone for a while."""


def health(arrivals: Arrivals, config: StreamsConfig, *, cadence_s: float, now: float) -> Health:
    """Judge a connection at ``now`` (monotonic seconds).

    :raises StreamError: OPEN_TIMEOUT or NO_KEYFRAME when the connection is to be given up.
    """
    patience_s = max(config.stall_after_s, _GOPS_WITHOUT_KEYFRAME * max(arrivals.longest_gop_s, cadence_s))
    if arrivals.keyframe_at is not None:
        silent_s = now - arrivals.keyframe_at
        if silent_s > patience_s + config.stall_grace_s:
            raise StreamError(StreamReason.NO_KEYFRAME, f"none for {silent_s:.0f} s")
        return Health.STALLED if silent_s > patience_s else Health.WELL
    if arrivals.begun_at is not None:
        if now - arrivals.begun_at > patience_s + config.stall_grace_s:
            raise StreamError(StreamReason.NO_KEYFRAME, f"none in the first {now - arrivals.begun_at:.0f} s")
        return Health.WAITING
    # The sources keep their own deadlines; this one only stands behind them.
    if now - arrivals.connected_at > 2 * config.open_timeout_s + max(config.read_timeout_s, config.segment_timeout_s):
        raise StreamError(StreamReason.OPEN_TIMEOUT, "nothing that could be read")
    return Health.WAITING


class Backoff:
    """Full-jitter exponential back-off (Brooker, "Exponential Backoff And Jitter", 2015)."""

    def __init__(self, initial_s: float, max_s: float, draw: Callable[[float, float], float] = uniform) -> None:
        self._initial_s = initial_s
        self._max_s = max_s
        self._draw = draw
        self.failures = 0
        """Failures since the stream was last well."""

    def reset(self) -> None:
        """The stream was well."""
        self.failures = 0

    def next_s(self) -> float:
        """Count a failure; seconds to wait before the next connection."""
        step = min(self._max_s, self._initial_s * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return self._draw(0.0, step)
