"""What an HLS run does about a playlist or a segment that failed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from monitor.errors import StreamError, StreamReason
from monitor.streams.playlist import frozen_after

_FINAL = frozenset(
    {
        StreamReason.TOO_LARGE,
        StreamReason.NO_VIDEO,
        StreamReason.UNSUPPORTED,
        StreamReason.PLAYLIST_FROZEN,
        StreamReason.OVER_BUDGET,
    }
)
_EXPIRED = frozenset({StreamReason.NOT_FOUND, StreamReason.FORBIDDEN})
_SEGMENT_TRIES = 2


class Remedy(StrEnum):
    """What to do next."""

    RETRY = "retry"
    """The same again at the next look."""
    RESOLVE = "resolve"
    """Start again from the configured address: the ones that it led to may have been good for some time only."""
    SKIP_SEGMENT = "skip_segment"
    """Go on without the segment that failed."""
    GIVE_UP = "give_up"
    """End the run."""


@dataclass(slots=True, kw_only=True)
class Trouble:
    """What went wrong since a segment was last played."""

    since: float
    """Monotonic seconds at which the last segment was played, or the run began."""
    well: bool = False
    """A segment was played in this run."""
    resolved: bool = False
    segment: int | None = None
    """Number of the segment that failed last."""
    tries: int = 0
    """How often that one failed in a row."""

    def played(self, now: float) -> None:
        """A segment was played."""
        self.since, self.well, self.resolved, self.segment, self.tries = now, True, False, None, 0


def remedy(
    error: StreamError, trouble: Trouble, *, segment: int | None, target_s: float, recorded: bool, now: float
) -> Remedy:
    """What to do about ``error``; counts it in ``trouble``.

    A run that has not played anything yet is given up at once: the supervisor's back-off is for that.

    :param segment: number of the segment that failed; None if it was the playlist.
    :param recorded: it is a recording, of which nothing may be left out.
    """
    if segment is not None:
        trouble.tries = trouble.tries + 1 if segment == trouble.segment else 1
        trouble.segment = segment
    final = not error.retryable or error.reason in _FINAL
    if final or not trouble.well or now - trouble.since > frozen_after(target_s):
        return Remedy.GIVE_UP
    if error.reason in _EXPIRED and not trouble.resolved:
        trouble.resolved = True
        return Remedy.RESOLVE
    if segment is not None:
        if trouble.tries < _SEGMENT_TRIES:
            return Remedy.RETRY
        return Remedy.GIVE_UP if recorded else Remedy.SKIP_SEGMENT
    return Remedy.GIVE_UP if error.reason in _EXPIRED else Remedy.RETRY
