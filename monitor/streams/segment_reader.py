"""Fetches HLS segments, or no more of them than their first keyframe, decrypts and demuxes them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from concurrent.futures import Executor
from dataclasses import dataclass

from monitor.clock import Clock
from monitor.errors import StreamError, StreamReason
from monitor.streams.aes import decrypt
from monitor.streams.config import StreamsConfig
from monitor.streams.http import ByteRange, Fetched, GuardedHttp, RangeRefused
from monitor.streams.packet import Packet, VideoFormat
from monitor.streams.playlist import Segment, SegmentKey
from monitor.streams.segment import demux_segment
from monitor.streams.ts_keyframe import first_keyframe

_KEY_BYTES = 16
_MOST_KEYS = 4
_FIRST_STEP = 65_536
_LEAST_STEP = 16_384
# Keyframes differ in size, those of one room not by much: so many of the last ones say how much to ask for.
_SIZES = 8
_MARGIN = 1.02
# What stands around a keyframe where nobody counted: tables, packet headers, sound, the next packet's head.
_AROUND, _AROUND_BYTES = 1.05, 4_000
# Some servers send less of a part than was asked for. A keyframe that has not come whole after the first few requests
# is asked for with all that is behind it; one that has not after all of them is cheaper to have with its segment.
_SMALL_PARTS, _MOST_PARTS = 4, 8
_MOST_PARTS_OF_WHOLE = 64
# After one without a keyframe, so many segments must have had one before their beginnings are relied on again.
_SURE = 30
# Of more than this the first keyframe is looked for in a thread.
_MOST_ON_LOOP = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Demuxed:
    """The video of a segment, or the first keyframe of it."""

    video: VideoFormat
    packets: tuple[Packet, ...]
    """None where only the keyframe was asked for and the segment holds none."""
    received: int
    """Bytes that were read from the network."""


class SegmentReader:
    """Reads the segments of one room; remembers keys, the initialisation section, how large keyframes are, and the
    parameter sets that libav has read already."""

    def __init__(self, http: GuardedHttp, demuxers: Executor, config: StreamsConfig, clock: Clock) -> None:
        self._http = http
        self._demuxers = demuxers
        self._config = config
        self._clock = clock
        self._init: tuple[str, ByteRange | None, bytes] | None = None
        self._keys: OrderedDict[str, bytes] = OrderedDict()
        self._needed: deque[int] = deque(maxlen=_SIZES)
        self._known: tuple[tuple[bytes, ...], VideoFormat] | None = None
        """Parameter sets in the video, and what libav makes of them."""
        self._ranges: bool | None = None
        """Whether the server sends parts of a segment; None until it was asked for one."""
        self._unsure = 0
        """Segments that must hold a keyframe until all of them are taken to."""

    @property
    def cuts_at_keyframes(self) -> bool:
        """Whether every segment of late held a keyframe; if not, only whole segments show the room."""
        return not self._unsure

    async def whole(self, segment: Segment) -> Demuxed:
        """All of ``segment``.

        :raises StreamError: the reason.
        """
        return await self._whole(segment, self._deadline())

    async def keyframe(self, segment: Segment) -> Demuxed:
        """The first keyframe of ``segment``, fetching little more than it; all of it where a server sends no parts.

        :raises StreamError: the reason; READ_TIMEOUT if it took longer, in however many parts, than a segment may.
        """
        deadline, vain = self._deadline(), 0
        if self._ranges is not False:
            try:
                found = await self._head(segment, deadline)
                if isinstance(found, Demuxed):
                    return found
                vain = found
            except StreamError as err:
                # A server that knows no parts may answer a request for one with any error.
                if self._ranges or err.reason is not StreamReason.HTTP_ERROR:
                    raise
        whole = await self._whole(segment, deadline)
        self._ranges = False
        packets = _first_keyframe(whole.packets, whole=True)
        return Demuxed(video=whole.video, packets=packets, received=vain + whole.received)

    async def _whole(self, segment: Segment, deadline: float) -> Demuxed:
        init = await self._init_section(segment, deadline)
        body = await self._body(segment.url, segment.part, deadline)
        video, packets = await self._demux(segment, init, body, whole=True)
        self._note(packets)
        return Demuxed(video=video, packets=packets, received=len(body))

    def _note(self, packets: tuple[Packet, ...]) -> None:
        """``packets`` are what a whole segment holds."""
        holds_one = any(packet.is_keyframe for packet in packets)
        self._unsure = max(0, self._unsure - 1) if holds_one else _SURE

    async def _head(self, segment: Segment, deadline: float) -> Demuxed | int:
        """The first keyframe; the number of bytes read in vain where the server sends no parts, or too small ones."""
        init = await self._init_section(segment, deadline)
        start, most = (segment.part.start, segment.part.length) if segment.part else (0, self._config.segment_bytes)
        if segment.key:
            await self._secret(segment.key)
        body, whole = b"", False
        for count in range(_MOST_PARTS):
            left = most - len(body)
            step = min(self._step(len(body)), left) if count < _SMALL_PARTS else left
            try:
                fetched = await self._fetch(segment.url, ByteRange(start=start + len(body), length=step), deadline)
            except RangeRefused:
                if not body:
                    raise
                whole = True
            else:
                if not fetched.partial:
                    return len(body) + len(fetched.body)
                self._ranges = True
                body += fetched.body
                whole = _is_end(fetched, start + len(body)) or len(body) >= most
            if found := await self._keyframe_of(segment, init, body, whole=whole):
                return found
        return len(body)

    async def _keyframe_of(self, segment: Segment, init: bytes, body: bytes, *, whole: bool) -> Demuxed | None:
        """The first keyframe of a segment that begins with ``body``; None if more is needed to tell."""
        if found := self._known_keyframe(segment, body):
            return found
        try:
            video, packets = await self._demux(segment, init, body, whole=whole)
        except StreamError:
            if whole:
                raise
            return None
        if whole:
            self._note(packets)
        packets = _first_keyframe(packets, whole=whole)
        if packets:
            self._learn(segment, body, video, packets[0])
        return Demuxed(video=video, packets=packets, received=len(body)) if packets or whole else None

    def _step(self, held: int) -> int:
        """How many bytes to ask for, given how many of the segment are here."""
        if not self._needed:
            return max(_FIRST_STEP, held)
        return max(_LEAST_STEP, int(max(self._needed) * _MARGIN) - held, held // 4)

    def _known_keyframe(self, segment: Segment, body: bytes) -> Demuxed | None:
        """The first keyframe of ``body`` if libav need not be asked: it would say the same as the last time."""
        if self._known is None or segment.key or segment.init_url or len(body) > _MOST_ON_LOOP:
            return None
        parameters, video = self._known
        found = first_keyframe(body)
        if found is None or found.parameters != parameters:
            return None
        self._needed.append(found.needed)
        packet = Packet(data=found.data, pts=found.pts, dts=found.dts, is_keyframe=True, received_at=self._clock.utc())
        return Demuxed(video=video, packets=(packet,), received=len(body))

    def _learn(self, segment: Segment, body: bytes, video: VideoFormat, keyframe: Packet) -> None:
        """Remember what libav made of ``body``; our own reading counts only while it is the same."""
        self._known = None
        found = None if segment.key or segment.init_url or len(body) > _MOST_ON_LOOP else first_keyframe(body)
        if found and (found.data, found.pts, found.dts) == (keyframe.data, keyframe.pts, keyframe.dts):
            self._known = found.parameters, video
            self._needed.append(found.needed)
        else:
            self._needed.append(min(len(body), int(len(keyframe.data) * _AROUND) + _AROUND_BYTES))

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

    async def _init_section(self, segment: Segment, deadline: float) -> bytes:
        if segment.init_url is None:
            return b""
        if self._init is None or self._init[:2] != (segment.init_url, segment.init_part):
            body = await self._body(segment.init_url, segment.init_part, deadline)
            self._init = (segment.init_url, segment.init_part, body)
        return self._init[2]

    async def _body(self, url: str, part: ByteRange | None, deadline: float) -> bytes:
        """All of ``part``, however little of it the server sends at once."""
        if part is None:
            return (await self._fetch(url, None, deadline)).body
        body = b""
        for _ in range(_MOST_PARTS_OF_WHOLE):
            left = ByteRange(start=part.start + len(body), length=part.length - len(body))
            try:
                fetched = await self._fetch(url, left, deadline)
            except RangeRefused:
                if not body:
                    raise
                return body
            body += fetched.body
            if len(body) >= part.length or not fetched.partial or _is_end(fetched, part.start + len(body)):
                return body
        raise StreamError(StreamReason.HTTP_ERROR, "the server sends a segment in too many parts")

    def _deadline(self) -> float:
        """When what is begun now must be here, on the loop's clock."""
        return asyncio.get_running_loop().time() + self._config.segment_timeout_s

    async def _fetch(self, url: str, part: ByteRange | None, deadline: float) -> Fetched:
        left_s = deadline - asyncio.get_running_loop().time()
        if left_s <= 0:
            raise StreamError(StreamReason.READ_TIMEOUT, f"not complete after {self._config.segment_timeout_s:g} s")
        return await self._http.fetch(url, max_bytes=self._config.segment_bytes, timeout_s=left_s, part=part)


def _is_end(fetched: Fetched, behind: int) -> bool:
    """Whether the part that was ``fetched`` and ends before byte ``behind`` is the resource's last."""
    return not fetched.body or (fetched.total is not None and behind >= fetched.total)


def _first_keyframe(packets: tuple[Packet, ...], *, whole: bool) -> tuple[Packet, ...]:
    """The first keyframe alone, if there is one.

    Of a segment's beginning the last packet may be cut short, so it does not count.
    """
    return next(((packet,) for packet in (packets if whole else packets[:-1]) if packet.is_keyframe), ())
