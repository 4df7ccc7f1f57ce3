"""HLS over the project's own HTTP client: live and recorded playlists, MPEG-TS and fMP4 segments.

As much is fetched as is needed: every segment while pictures are wanted more often than there are segments, else
only the first keyframe of those that are due. When a candidate shows up, the segments around it are fetched whole.
"""

from __future__ import annotations

import math
import time
from concurrent.futures import Executor
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from monitor.clock import Clock
from monitor.errors import StreamError, StreamReason
from monitor.streams.config import StreamsConfig
from monitor.streams.http import GuardedHttp
from monitor.streams.packet import Packet, PacketSink, PickySink, VideoFormat
from monitor.streams.playback import Pace, Playback
from monitor.streams.playlist import (
    MediaPlaylist,
    Segment,
    choose_variant,
    frozen_after,
    next_look_after,
    poll_after,
)
from monitor.streams.playlist_reader import PlaylistReader
from monitor.streams.recovery import Remedy, Trouble, remedy
from monitor.streams.segment import same_format
from monitor.streams.segment_reader import Demuxed, SegmentReader
from monitor.streams.unpicky import Unpicky

# A room that is further behind than this goes on at the live edge; the gap shows in the stream time.
_MOST_PENDING = 3
_MOST_REFILL = 4
# A keyframe that is due so little later than a segment's beginning is taken there.
_EARLY_S = 0.05
_SHORT = 0.05
_LEAST_PAUSE_S = 0.05


def pending(playlist: MediaPlaylist, seen: int | None, *, sparse: bool = False) -> tuple[Segment, ...]:
    """The segments to play next, given the number of the last one that was played (None: none yet).

    A recording is played whole; a live playlist is entered at its edge. Numbers that went back mean that the
    broadcaster started anew.

    :param sparse: hardly anything is fetched of each, so a reader cannot fall behind.
    """
    segments = playlist.segments
    started_anew = seen is not None and bool(segments) and segments[-1].number < seen
    if seen is None or started_anew:
        return segments if playlist.ended else segments[-1:]
    fresh = tuple(segment for segment in segments if segment.number > seen)
    return fresh if playlist.ended or sparse or len(fresh) <= _MOST_PENDING else fresh[-1:]


def unbroken(segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """The newest of ``segments`` that lie on one timeline, no more than are worth fetching again."""
    newest = segments[-_MOST_REFILL:]
    breaks = [index for index, segment in enumerate(newest) if segment.discontinuity]
    return newest[breaks[-1] :] if breaks else newest


def from_keyframe(packets: tuple[Packet, ...]) -> tuple[Packet, ...]:
    """``packets`` without those before the first keyframe."""
    first = next((index for index, packet in enumerate(packets) if packet.is_keyframe), len(packets))
    return packets[first:]


@dataclass(slots=True, kw_only=True)
class _Place:
    """Where a run reads: what the configured address led to."""

    url: str = field(repr=False)
    """The media playlist's address."""
    iframes_url: str | None = field(repr=False)
    playlist: MediaPlaylist
    looked_at: float
    """Monotonic seconds at which ``playlist`` was asked for."""
    fresh: int = 0
    """Segments that it then held and had not held before."""
    grew_at: float | None = None
    """Monotonic seconds of the look before, among those that found any."""
    waited_s: float = math.inf
    """From ``grew_at`` to ``looked_at``."""
    on_iframes: bool = False
    """``playlist`` is the one of keyframes alone."""

    def saw(self, playlist: MediaPlaylist, asked_at: float) -> None:
        """``playlist`` is what came of asking at ``asked_at``."""
        newest = self.playlist.segments[-1].number if self.playlist.segments else -1
        self.fresh = sum(segment.number > newest for segment in playlist.segments)
        if self.fresh:
            self.waited_s = math.inf if self.grew_at is None else asked_at - self.grew_at
            self.grew_at = asked_at
        self.playlist, self.looked_at = playlist, asked_at


class HlsSource:
    """A room, or a recording, as an HLS playlist. It remembers what it has seen when it is run again."""

    def __init__(
        self,
        url: str,
        *,
        http: GuardedHttp,
        demuxers: Executor,
        config: StreamsConfig,
        clock: Clock,
        paced: bool = True,
    ) -> None:
        self._url = url
        self._config = config
        self._paced = paced
        self._playlists = PlaylistReader(http, demuxers, config)
        self._reader = SegmentReader(http, demuxers, config, clock)
        self._target_s = 0.0
        self._apart_s = 0.0
        self._seen: int | None = None
        self._seen_iframe: int | None = None
        self._finished: tuple[int, str] | None = None

    @property
    def cadence_s(self) -> float:
        """A whole segment arrives at once, and where pictures are wanted seldom, so does a keyframe."""
        return max(self._target_s, self._apart_s)

    async def run(self, sink: PacketSink) -> None:
        """Follow the playlist; returns at its end, and at once if that end was reached before.

        :raises StreamError: the reason; PLAYLIST_FROZEN when a live playlist gains no segment.
        """
        place = await self._resolve()
        if place.playlist.ended and self._finished is not None and not _goes_on(place.playlist, self._finished):
            self._seen = None
        run = _Run(sink, recorded=place.playlist.ended, paced=self._paced)
        while True:
            try:
                await self._play_pending(place, run)
                if place.playlist.ended:
                    self._finished = _end(place.playlist)
                    return
                run.check_frozen(place.playlist)
                await run.picky.pause(self._next_look_s(place, run))
                await self._look_again(place, run)
            except StreamError as err:
                place = await self._recover(err, place, run)

    def _next_look_s(self, place: _Place, run: _Run) -> float:
        """Seconds until the playlist is looked at again."""
        target_s = place.playlist.target_s
        sparse = self._is_sparse(place, run, target_s)
        # A keyframe for each so many segments, where the last may be a little short of the interval.
        self._apart_s = target_s * math.ceil(run.picky.interval_s / target_s - _SHORT) if sparse else 0.0
        rest_s = run.picky.rest_s() if sparse else 0.0
        wait_s = next_look_after(place.playlist, fresh=place.fresh, waited_s=place.waited_s, rest_s=rest_s)
        return max(_LEAST_PAUSE_S, place.looked_at + wait_s - time.monotonic())

    async def _look_again(self, place: _Place, run: _Run) -> None:
        """Read the playlist anew: that of the keyframes alone where there is one and it is enough."""
        iframes = place.iframes_url if self._is_sparse(place, run, place.playlist.target_s) else None
        if iframes is None and place.on_iframes:
            # What was played as keyframes lies behind; numbers of the two playlists do not compare.
            self._seen = None
        asked_at = time.monotonic()
        place.saw(await self._media(iframes or place.url), asked_at)
        place.on_iframes = iframes is not None

    async def _recover(self, error: StreamError, place: _Place, run: _Run) -> _Place:
        """Where to go on after ``error``.

        :raises StreamError: ``error``, or the one that looking anew has met.
        """
        if place.on_iframes and run.playing is not None:
            # They are an economy; whatever is wrong with them, the segments themselves can still be right.
            place.iframes_url, run.playing = None, None
            return place
        target_s = place.playlist.target_s
        choice = remedy(
            error,
            run.trouble,
            segment=run.playing,
            target_s=target_s,
            recorded=place.playlist.ended,
            now=time.monotonic(),
        )
        if choice is Remedy.GIVE_UP:
            raise error
        run.picky.retried(error)
        if choice is Remedy.RESOLVE:
            run.playing = None
            return await self._resolve()
        if choice is Remedy.SKIP_SEGMENT:
            self._seen = run.playing
        run.playing = None
        await run.picky.pause(poll_after(target_s))
        return place

    async def _resolve(self) -> _Place:
        """What the configured address leads to now."""
        looked_at = time.monotonic()
        found = await self._playlists.read(self._url)
        if isinstance(found, MediaPlaylist):
            self._target_s = found.target_s
            return _Place(url=self._url, iframes_url=None, playlist=found, looked_at=looked_at)
        chosen = choose_variant(found, self._config.rendition_lines)
        playlist = await self._media(chosen.url)
        return _Place(url=chosen.url, iframes_url=chosen.iframes_url, playlist=playlist, looked_at=looked_at)

    async def _media(self, url: str) -> MediaPlaylist:
        playlist = await self._playlists.media(url)
        self._target_s = playlist.target_s
        return playlist

    def _is_sparse(self, place: _Place, run: _Run, segment_s: float) -> bool:
        """Whether a keyframe of each segment is all that is needed, and to be had without the rest."""
        keyframes_apart = place.iframes_url is not None or self._reader.cuts_at_keyframes
        return keyframes_apart and run.picky.is_sparse(segment_s)

    async def _play_pending(self, place: _Place, run: _Run) -> None:
        if run.picky.wants_refill():
            await self._refill(place, run)
        seen = self._seen_iframe if place.on_iframes else self._seen
        sparse = self._is_sparse(place, run, place.playlist.target_s)
        for segment in pending(place.playlist, seen, sparse=sparse):
            await self._play(segment, run, place)
            if place.on_iframes:
                self._seen_iframe = segment.number
            else:
                self._seen = segment.number

    async def _play(self, segment: Segment, run: _Run, place: _Place) -> None:
        """Play ``segment``, its first keyframe, or nothing of it, as the sink needs."""
        run.playing = segment.number
        sparse = not place.playlist.ended and self._is_sparse(place, run, segment.seconds)
        if sparse and run.playback.begun and run.picky.rest_s() > _EARLY_S and not segment.discontinuity:
            run.leave_out(segment)
        else:
            keyframe_only = sparse and not place.on_iframes
            found = await (self._reader.keyframe(segment) if keyframe_only else self._reader.whole(segment))
            await run.show(segment, found, alone=sparse)
        run.playing = None
        run.trouble.played(time.monotonic())

    async def _refill(self, place: _Place, run: _Run) -> None:
        """Fetch the newest segments whole, and go on behind them."""
        if place.on_iframes:
            place.saw(await self._media(place.url), time.monotonic())
            place.on_iframes = False
        packets: list[Packet] = []
        received = 0
        video: VideoFormat | None = None
        seen = self._seen
        for segment in unbroken(place.playlist.segments):
            found = await self._reader.whole(segment)
            received += found.received
            if not run.playback.fits(found.video) or not same_format(video or found.video, found.video):
                # Nothing of it counts as seen: the segments are played one by one instead.
                packets, seen = [], self._seen
                break
            video = found.video if found.video.width else video
            packets += from_keyframe(found.packets) if not packets else found.packets
            seen = segment.number
        self._seen, run.broken = seen, run.broken and not packets
        run.picky.refill(packets, received)


def _end(playlist: MediaPlaylist) -> tuple[int, str]:
    """What tells one end of a playlist from another; without the query, which may hold a fresh token."""
    if not playlist.segments:
        return 0, ""
    last = playlist.segments[-1]
    return last.number, urlsplit(last.url).path


def _goes_on(playlist: MediaPlaylist, finished: tuple[int, str]) -> bool:
    """Whether an ended playlist is the one that was ``finished``, or that one grown longer; else it is a new one."""
    return _end(playlist) == finished or _end(playlist)[0] > finished[0]


class _Run:
    """One reading of the room, from its first playlist on."""

    def __init__(self, sink: PacketSink, *, recorded: bool, paced: bool) -> None:
        self.picky: PickySink = sink if isinstance(sink, PickySink) else Unpicky(sink)
        self.playback = Playback(sink, Pace(sink, recorded=recorded, paced=paced))
        self.trouble = Trouble(since=time.monotonic())
        self.playing: int | None = None
        """Number of the segment that is being fetched."""
        self.broken = False
        """Pictures were left out since the newest that was shown, so the next to show is a keyframe."""

    def leave_out(self, segment: Segment) -> None:
        """Nothing (more) of ``segment`` is shown."""
        self.picky.skip(segment.seconds)
        self.broken = True

    async def show(self, segment: Segment, found: Demuxed, *, alone: bool) -> None:
        """Pass on what was found of ``segment``; nothing, where it needs pictures that are not here.

        :param alone: all else of the segment is left out.
        """
        packets = from_keyframe(found.packets) if self.broken else found.packets
        if packets and (found.video.width or self.playback.begun):
            await self.playback.play(segment, found.video, packets, found.received)
            self.broken = False
            if not alone:
                return
        else:
            self.picky.push((), found.received)
        self.leave_out(segment)

    def check_frozen(self, playlist: MediaPlaylist) -> None:
        """:raises StreamError: PLAYLIST_FROZEN if the live playlist has gained no segment for long."""
        silent_s = time.monotonic() - self.trouble.since
        if silent_s > frozen_after(playlist.target_s):
            raise StreamError(StreamReason.PLAYLIST_FROZEN, f"no new segment for {silent_s:.0f} s")
