"""Fetches HLS segments, or no more of them than their first keyframe, decrypts and demuxes them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import Executor
from dataclasses import dataclass

from monitor.clock import Clock
from monitor.errors import StreamError, StreamReason
from monitor.streams.aes import decrypt
from monitor.streams.config import StreamsConfig
from monitor.streams.http import ByteRange, Fetched, GuardedHttp
from monitor.streams.packet import Packet, VideoFormat
from monitor.streams.playlist import Segment, SegmentKey
from monitor.streams.segment import demux_segment

_KEY_BYTES = 16
_MOST_KEYS = 4
_FIRST_STEP = 65_536
_LEAST_STEP = 16_384
# What stands around a keyframe: tables, packet headers (4 of 188 bytes in MPEG-TS), sound, the next packet's head.
_MARGIN, _MARGIN_BYTES = 1.2, 6_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Demuxed:
    """The video of a segment, or the first keyframe of it."""

    video: VideoFormat
    packets: tuple[Packet, ...]
    received: int
    """Bytes that were read from the network."""


class SegmentReader:
    """Reads the segments of one room; remembers keys, the initialisation section and how large keyframes are."""

    def __init__(self, http: GuardedHttp, demuxers: Executor, config: StreamsConfig, clock: Clock) -> None:
        self._http = http
        self._demuxers = demuxers
        self._config = config
        self._clock = clock
        self._init: tuple[str, ByteRange | None, bytes] | None = None
        self._keys: OrderedDict[str, bytes] = OrderedDict()
        self._step = _FIRST_STEP
        self._ranges: bool | None = None
        """Whether the server sends parts of a segment; None until it was asked for one."""

    async def whole(self, segment: Segment) -> Demuxed:
        """All of ``segment``.

        :raises StreamError: the reason.
        """
        init = await self._init_section(segment)
        fetched = await self._fetch(segment.url, segment.part)
        video, packets = await self._demux(segment, init, fetched.body, whole=True)
        return Demuxed(video=video, packets=packets, received=len(fetched.body))

    async def keyframe(self, segment: Segment) -> Demuxed:
        """The first keyframe of ``segment``, fetching little more than it; all of it where a server sends no parts.

        :raises StreamError: the reason; NO_KEYFRAME.
        """
        vain = 0
        if self._ranges is not False:
            try:
                found = await self._head(segment)
                if isinstance(found, Demuxed):
                    return found
                vain = found
            except StreamError as err:
                # A server that knows no parts may answer a request for one with any error.
                if self._ranges or err.reason is not StreamReason.HTTP_ERROR:
                    raise
        whole = await self.whole(segment)
        self._ranges = False
        packets = _first_keyframe(whole.packets, whole=True)
        return Demuxed(video=whole.video, packets=packets, received=vain + whole.received)

    async def _head(self, segment: Segment) -> Demuxed | int:
        """The first keyframe; the number of bytes read in vain where the server sent more than was asked for."""
        init = await self._init_section(segment)
        start, most = (segment.part.start, segment.part.length) if segment.part else (0, self._config.segment_bytes)
        if segment.key:
            await self._secret(segment.key)
        body, whole = b"", False
        while True:
            step = min(max(self._step, len(body)), most - len(body))
            try:
                fetched = await self._fetch(segment.url, ByteRange(start=start + len(body), length=step))
            except StreamError as err:
                # 416: the segment ended where the last part did.
                if not body or err.reason is not StreamReason.HTTP_ERROR:
                    raise
                whole = True
            else:
                if not fetched.partial:
                    return len(body) + len(fetched.body)
                self._ranges = True
                body += fetched.body
                whole = len(fetched.body) < step or len(body) >= most
            try:
                video, packets = await self._demux(segment, init, body, whole=whole)
                packets = _first_keyframe(packets, whole=whole)
            except StreamError:
                if whole:
                    raise
                continue
            self._step = max(_LEAST_STEP, int(len(packets[0].data) * _MARGIN) + _MARGIN_BYTES)
            return Demuxed(video=video, packets=packets, received=len(body))

    async def _demux(
        self, segment: Segment, init: bytes, body: bytes, *, whole: bool
    ) -> tuple[VideoFormat, tuple[Packet, ...]]:
        secret = await self._secret(segment.key) if segment.key else b""
        received_at = self._clock.utc()

        def work() -> tuple[VideoFormat, tuple[Packet, ...]]:
            head, data = init, body
            if segment.key:
                data = decrypt(data, secret, segment.key.iv, whole=whole)
                # The key in force covers the initialisation section too, but not every packager does that.
                if head and head[4:8] != b"ftyp" and head[:1] != b"\x47":
                    head = decrypt(head, secret, segment.key.iv, whole=True)
            return demux_segment(head + data, self._clock, received_at)

        return await asyncio.get_running_loop().run_in_executor(self._demuxers, work)

    async def _secret(self, key: SegmentKey) -> bytes:
        if key.url not in self._keys:
            fetched = await self._http.fetch(key.url, max_bytes=_KEY_BYTES, timeout_s=self._config.open_timeout_s)
            self._keys[key.url] = fetched.body
            if len(self._keys) > _MOST_KEYS:
                self._keys.popitem(last=False)
        return self._keys[key.url]

    async def _init_section(self, segment: Segment) -> bytes:
        if segment.init_url is None:
            return b""
        if self._init is None or self._init[:2] != (segment.init_url, segment.init_part):
            fetched = await self._fetch(segment.init_url, segment.init_part)
            self._init = (segment.init_url, segment.init_part, fetched.body)
        return self._init[2]

    async def _fetch(self, url: str, part: ByteRange | None) -> Fetched:
        config = self._config
        return await self._http.fetch(
            url, max_bytes=config.segment_bytes, timeout_s=config.segment_timeout_s, part=part
        )


def _first_keyframe(packets: tuple[Packet, ...], *, whole: bool) -> tuple[Packet, ...]:
    """The first keyframe alone. Of a segment's beginning the last packet may be cut short, so it does not count.

    :raises StreamError: NO_KEYFRAME.
    """
    for packet in packets if whole else packets[:-1]:
        if packet.is_keyframe:
            return (packet,)
    raise StreamError(StreamReason.NO_KEYFRAME, "the segment holds no keyframe")
