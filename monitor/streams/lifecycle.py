"""When a stream counts as stalled, when it is given up, how long to wait then, and when it goes unwatched."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from random import uniform

from monitor.errors import StreamError, StreamReason
from monitor.streams.config import StreamsConfig
from monitor.streams.feed import Arrivals
from monitor.streams.stream import StreamState

_GOPS_WITHOUT_KEYFRAME = 3.0
_CADENCES_WITHOUT_PACKET = 3.0
# Later than this many sampling intervals after the last sample, a live stream counts as not watched.
_OVERDUE_INTERVALS = 2.0
# For so long after a room was on the air, waits are this short at the most.
_RECENT_S, _RECENT_MAX_S = 120.0, 10.0


class Health(StrEnum):
    """What the arrivals of a connection say."""

    WAITING = "waiting"
    """No keyframe yet, but still in time."""
    WELL = "well"
    STALLED = "stalled"
    """Pictures stopped coming; the connection is left alone for a while."""
    STUCK = "stuck"
    """Keyframes come, but their time stamps do not go on; left alone for a while as well."""


def health(arrivals: Arrivals, config: StreamsConfig, *, cadence_s: float, now: float) -> Health:
    """Judge a connection at ``now`` (monotonic seconds).

    :param cadence_s: seconds between two arrivals when all is well, as the source says.
    :raises StreamError: OPEN_TIMEOUT, NO_KEYFRAME or TIME_STUCK when the connection is to be given up.
    """
    patience_s = max(config.stall_after_s, _GOPS_WITHOUT_KEYFRAME * max(arrivals.longest_gop_s, cadence_s))
    if arrivals.keyframe_at is not None:
        silent_s = now - arrivals.keyframe_at
        stuck = arrivals.stuck_at is not None and arrivals.stuck_at > arrivals.keyframe_at
        if silent_s > patience_s + config.stall_grace_s:
            reason = StreamReason.TIME_STUCK if stuck else StreamReason.NO_KEYFRAME
            raise StreamError(reason, f"no new picture for {silent_s:.0f} s")
        if silent_s > patience_s:
            return Health.STUCK if stuck else Health.STALLED
        return Health.STALLED if _is_silent(arrivals, config, cadence_s, now) else Health.WELL
    if arrivals.begun_at is not None:
        if now - arrivals.begun_at > patience_s + config.stall_grace_s:
            raise StreamError(StreamReason.NO_KEYFRAME, f"none in the first {now - arrivals.begun_at:.0f} s")
        return Health.WAITING
    # The sources keep their own deadlines; this one only stands behind them.
    if now - arrivals.connected_at > 2 * config.open_timeout_s + max(config.read_timeout_s, config.segment_timeout_s):
        raise StreamError(StreamReason.OPEN_TIMEOUT, "nothing that could be read")
    return Health.WAITING


def _is_silent(arrivals: Arrivals, config: StreamsConfig, cadence_s: float, now: float) -> bool:
    """Whether a stream of which every picture is read gave none for too long, whatever its keyframes' distance."""
    if arrivals.delta_at is None or arrivals.keyframe_at is None:
        return False
    last = max(arrivals.delta_at, arrivals.keyframe_at)
    return now - last > _silence_s(config, cadence_s)


def _silence_s(config: StreamsConfig, cadence_s: float) -> float:
    return max(config.stall_after_s, _CADENCES_WITHOUT_PACKET * cadence_s)


def soonest_stall(arrivals: Arrivals, config: StreamsConfig, *, cadence_s: float) -> float:
    """Monotonic seconds before which :func:`health` finds no stall, whatever else comes."""
    shown_at = arrivals.connected_at if arrivals.keyframe_at is None else arrivals.keyframe_at
    return shown_at + _silence_s(config, cadence_s)


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

    def next_s(self, last_shown_s: float | None = None) -> float:
        """Count a failure; seconds to wait before the next connection.

        :param last_shown_s: seconds since the room last showed anything; None if it never did. One that was on the
            air a moment ago is more likely to come back than one that has been gone for long.
        """
        recent = last_shown_s is not None and last_shown_s <= _RECENT_S
        most = min(self._max_s, _RECENT_MAX_S) if recent else self._max_s
        step = min(most, self._initial_s * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return self._draw(0.0, step)


def unwatched(
    state: StreamState,
    reason: StreamReason,
    *,
    interval_s: float,
    sampled_at: float | None,
    taken_at: float | None,
    now: float,
) -> StreamReason | None:
    """Why nothing of a configured stream is being looked at, at ``now`` (monotonic seconds); None if it is.

    A room that has ended is not missed.

    :param sampled_at: when a keyframe of it was last picked.
    :param taken_at: when one was last taken up to be analysed.
    """
    if state is StreamState.ENDED:
        return None if reason is StreamReason.END_OF_STREAM else reason
    if state not in (StreamState.LIVE, StreamState.STALLED):
        return reason
    overdue_s = _OVERDUE_INTERVALS * interval_s
    if sampled_at is None or now - sampled_at > overdue_s:
        return StreamReason.KEYFRAMES_RARE if state is StreamState.LIVE else reason
    if taken_at is None or now - taken_at > overdue_s:
        return StreamReason.ANALYSIS_BEHIND
    return None
