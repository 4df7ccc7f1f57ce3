"""What an HLS playlist says (RFC 8216), as far as watching a room needs it, and when it is looked at again."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from monitor.streams.http import ByteRange

_POLL_MIN_S, _POLL_MAX_S = 0.25, 1.0
_FROZEN_MIN_S, _FROZEN_TARGETS = 5.0, 3.0
# So much sooner than the next segment is due: looks creep up to the moment at which it appears, and never behind it.
_CREEP = 0.99
# A room whose segments come in less than this part of their duration is catching up, or its clock is wrong.
_FAST = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentKey:
    """What an AES-128 segment is encrypted with."""

    url: str = field(repr=False)
    iv: bytes = field(repr=False)
    """16 bytes: the tag's, or the media sequence number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One media segment of a playlist."""

    number: int
    """Media sequence number."""
    url: str = field(repr=False)
    part: ByteRange | None
    seconds: float
    discontinuity: bool
    init_url: str | None = field(repr=False)
    """fMP4's initialisation section."""
    init_part: ByteRange | None
    key: SegmentKey | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPlaylist:
    """A playlist of segments."""

    target_s: float
    ended: bool
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One rendition of a master playlist."""

    url: str = field(repr=False)
    height: int
    """Pixels; 0 if the playlist does not say."""
    width: int = 0
    bandwidth: int
    """Bits a second."""
    iframes_url: str | None = field(default=None, repr=False)
    """A playlist of the same pictures' keyframes alone."""

    @property
    def lines(self) -> int:
        """The shorter side, as in "480p": a phone's upright picture is no taller for faces than a lying one."""
        return min(self.width or self.height, self.height)


def choose_variant(variants: list[Variant], least_lines: int) -> Variant:
    """The cheapest rendition of at least ``least_lines``, else the tallest."""
    good = [variant for variant in variants if variant.lines >= least_lines]
    if good:
        return min(good, key=lambda variant: variant.bandwidth)
    return max(variants, key=lambda variant: (variant.lines, variant.bandwidth))


def poll_after(target_s: float) -> float:
    """Seconds between two looks at a live playlist."""
    return min(_POLL_MAX_S, max(_POLL_MIN_S, target_s / 2))


def next_look_after(playlist: MediaPlaylist, *, fresh: int, waited_s: float, rest_s: float = 0.0) -> float:
    """Seconds from one look at a live playlist to the next.

    One that has grown does so again when its newest segment has been shown once more, or sooner if it has grown
    faster than its clock says. One that has not is looked at again soon (RFC 8216, 6.3.4).

    :param fresh: segments that the last look found; 0 also for the first look.
    :param waited_s: from the look that found some before to the last one.
    :param rest_s: seconds of stream behind the newest segment of which nothing is needed. Those segments may go by
        unread, but not unseen: the window must still hold them all at the next look.
    """
    if not fresh or not playlist.segments:
        return poll_after(playlist.target_s)
    step_s = min(playlist.segments[-1].seconds, playlist.target_s)
    if waited_s / fresh < _FAST * step_s:
        step_s = waited_s / fresh
    steps = 1
    if rest_s > 0 < step_s:
        # A playlist that stands still must be noticed in time all the same.
        most_s = frozen_after(playlist.target_s) - playlist.target_s
        steps = max(1, min(1 + math.ceil(rest_s / step_s), len(playlist.segments) - 1, int(most_s / step_s)))
    return max(_POLL_MIN_S, steps * step_s * _CREEP)


def frozen_after(target_s: float) -> float:
    """Seconds after which a live playlist that gains no segment counts as frozen."""
    return max(_FROZEN_MIN_S, _FROZEN_TARGETS * target_s)
