"""HLS over the project's own HTTP client: live and recorded playlists, MPEG-TS and fMP4 segments."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Executor
from urllib.parse import urlsplit

from monitor.clock import Clock
from monitor.errors import StreamError, StreamReason
from monitor.streams.config import StreamsConfig
from monitor.streams.http import ByteRange, Fetched, GuardedHttp
from monitor.streams.packet import Packet, PacketSink, VideoFormat
from monitor.streams.playlist import MediaPlaylist, Segment, choose_variant, frozen_after, parse, poll_after
from monitor.streams.segment import demux_segment, same_format

# A live segment arrives whole. It is passed on this much faster than real time instead of at once: the
# consumer's one slot would otherwise keep only the segment's last keyframe.
_LIVE_SPEED = 5.0
# A room that is further behind than this goes on at the live edge; the gap shows in the stream time.
_MOST_PENDING = 3


def gops(packets: tuple[Packet, ...]) -> list[list[Packet]]:
    """``packets`` cut before each keyframe."""
    groups: list[list[Packet]] = []
    for packet in packets:
        if packet.is_keyframe or not groups:
            groups.append([])
        groups[-1].append(packet)
    return groups


def pending(playlist: MediaPlaylist, seen: int | None) -> tuple[Segment, ...]:
    """The segments to play next, given the number of the last one that was played (None: none yet).

    A recording is played whole; a live playlist is entered at its edge. Numbers that went back mean that the
    broadcaster started anew.
    """
    segments = playlist.segments
    started_anew = seen is not None and bool(segments) and segments[-1].number < seen
    if seen is None or started_anew:
        return segments if playlist.ended else segments[-1:]
    fresh = tuple(segment for segment in segments if segment.number > seen)
    return fresh if playlist.ended or len(fresh) <= _MOST_PENDING else fresh[-1:]


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
        self._http = http
        self._demuxers = demuxers
        self._config = config
        self._clock = clock
        self._paced = paced
        self._target_s = 0.0
        self._seen: int | None = None
        self._finished: tuple[int, str] | None = None
        self._init: tuple[str, ByteRange | None, bytes] | None = None

    @property
    def cadence_s(self) -> float:
        """A whole segment arrives at once."""
        return self._target_s

    async def run(self, sink: PacketSink) -> None:
        """Follow the playlist; returns at its end, and at once if that end was reached before.

        :raises StreamError: the reason; PLAYLIST_FROZEN when a live playlist gains no segment.
        """
        url, playlist = await self._resolve()
        if playlist.ended and self._finished is not None and not _goes_on(playlist, self._finished):
            self._seen = None
        playback = _Playback(sink, _Pace(sink, recorded=playlist.ended, paced=self._paced))
        fresh_at = time.monotonic()
        while True:
            for segment in pending(playlist, self._seen):
                await self._play(segment, playback)
                self._seen = segment.number
                fresh_at = time.monotonic()
            if playlist.ended:
                self._finished = _end(playlist)
                return
            silent_s = time.monotonic() - fresh_at
            if silent_s > frozen_after(playlist.target_s):
                raise StreamError(StreamReason.PLAYLIST_FROZEN, f"no new segment for {silent_s:.0f} s")
            await asyncio.sleep(poll_after(playlist.target_s))
            playlist = await self._media(url)

    async def _resolve(self) -> tuple[str, MediaPlaylist]:
        """The address of the media playlist and its first reading."""
        fetched = await self._fetch_playlist(self._url)
        parsed = parse(fetched)
        if isinstance(parsed, MediaPlaylist):
            self._target_s = parsed.target_s
            return self._url, parsed
        url = choose_variant(parsed).url
        return url, await self._media(url)

    async def _media(self, url: str) -> MediaPlaylist:
        parsed = parse(await self._fetch_playlist(url))
        if not isinstance(parsed, MediaPlaylist):
            raise StreamError(StreamReason.BAD_PLAYLIST, "a master playlist inside a master playlist")
        self._target_s = parsed.target_s
        return parsed

    async def _fetch_playlist(self, url: str) -> Fetched:
        config = self._config
        return await self._http.fetch(url, max_bytes=config.playlist_bytes, timeout_s=config.open_timeout_s)

    async def _fetch_part(self, url: str, part: ByteRange | None) -> bytes:
        config = self._config
        fetched = await self._http.fetch(
            url, max_bytes=config.segment_bytes, timeout_s=config.segment_timeout_s, part=part
        )
        return fetched.body

    async def _init_section(self, segment: Segment) -> bytes:
        if segment.init_url is None:
            return b""
        if self._init is None or self._init[:2] != (segment.init_url, segment.init_part):
            data = await self._fetch_part(segment.init_url, segment.init_part)
            self._init = (segment.init_url, segment.init_part, data)
        return self._init[2]

    async def _play(self, segment: Segment, playback: _Playback) -> None:
        init = await self._init_section(segment)
        body = await self._fetch_part(segment.url, segment.part)
        video, packets = await asyncio.get_running_loop().run_in_executor(
            self._demuxers, demux_segment, init + body, self._clock, self._clock.utc()
        )
        await playback.play(segment, video, packets, len(body))


def _end(playlist: MediaPlaylist) -> tuple[int, str]:
    """What tells one end of a playlist from another; without the query, which may hold a fresh token."""
    if not playlist.segments:
        return 0, ""
    last = playlist.segments[-1]
    return last.number, urlsplit(last.url).path


def _goes_on(playlist: MediaPlaylist, finished: tuple[int, str]) -> bool:
    """Whether an ended playlist is the one that was ``finished``, or that one grown longer; else it is a new one."""
    return _end(playlist) == finished or _end(playlist)[0] > finished[0]


class _Playback:
    """Passes segments on to the sink: epochs where the timeline or the format changes, GOP by GOP in time."""

    def __init__(self, sink: PacketSink, pace: _Pace) -> None:
        self._sink = sink
        self._pace = pace
        self._format: VideoFormat | None = None

    async def play(self, segment: Segment, video: VideoFormat, packets: tuple[Packet, ...], received: int) -> None:
        if segment.discontinuity or not same_format(self._format, video):
            self._sink.begin(video)
            self._format = video
        first = packets[0].dts
        for group in gops(packets):
            await self._pace.wait(float((group[0].dts - first) * video.time_base))
            self._sink.push(group, received)
            received = 0
        self._pace.ended(segment.seconds)


class _Pace:
    """When the next GOP is due: recordings in real time (or as the sink takes them), live segments faster."""

    def __init__(self, sink: PacketSink, *, recorded: bool, paced: bool) -> None:
        self._sink = sink
        self._recorded = recorded
        self._paced = paced
        self._origin: float | None = None

    async def wait(self, offset_s: float) -> None:
        """Return when what is ``offset_s`` into the segment is due."""
        if not self._paced:
            await self._sink.drained()
            return
        now = time.monotonic()
        if self._origin is None:
            self._origin = now
        due = self._origin + offset_s / (1.0 if self._recorded else _LIVE_SPEED)
        if due > now:
            await asyncio.sleep(due - now)

    def ended(self, seconds: float) -> None:
        """The segment lasted ``seconds``; the next one is due after it, or at once when live."""
        if self._origin is not None:
            self._origin = max(self._origin + seconds, time.monotonic() - seconds) if self._recorded else None
