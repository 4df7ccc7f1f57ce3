"""Parts of segments from servers that send less than was asked for, and segments without a keyframe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from support.hls import HttpServer, playlist
from support.measured_hls import MeasuredRoom
from support.video import fmp4_segments, halved, ts_segments
from support.watching import LOOPBACK, QUICK

from monitor.clock import SystemClock
from monitor.errors import StreamError, StreamReason
from monitor.streams.guard import AddressGuard
from monitor.streams.hls import HlsSource
from monitor.streams.http import ByteRange, Fetched, GuardedHttp, range_total
from monitor.streams.packet import Packet, VideoFormat
from monitor.streams.playlist import Segment
from monitor.streams.segment import demux_segment
from monitor.streams.segment_reader import SegmentReader
from monitor.streams.unpicky import Unpicky

CLOCK = SystemClock()


def segment(url: str, part: ByteRange | None = None) -> Segment:
    return Segment(
        number=0, url=url, part=part, seconds=2.0, discontinuity=False, init_url=None, init_part=None, key=None
    )


@asynccontextmanager
async def http_client() -> AsyncIterator[GuardedHttp]:
    async with GuardedHttp(AddressGuard(LOOPBACK), open_timeout_s=5.0) as http:
        yield http


@asynccontextmanager
async def reading(seconds: float = 10.0) -> AsyncIterator[SegmentReader]:
    config = QUICK.model_copy(update={"segment_timeout_s": seconds})
    with ThreadPoolExecutor(1) as demuxers:
        async with http_client() as http:
            yield SegmentReader(http, demuxers, config, CLOCK)


@pytest.fixture(scope="module")
def large() -> list[bytes]:
    """Two segments whose keyframe takes four parts of 32 KiB and more."""
    return ts_segments(seconds=4, segment_s=2.0, fps=10, gop=20, width=640, height=360, noise=80)


@pytest.mark.parametrize("says_total", [True, False])
async def test_a_keyframe_is_whole_however_little_of_it_the_server_sends_at_once(
    server: HttpServer, large: list[bytes], says_total: bool
) -> None:
    room = MeasuredRoom(server, large, most_part=32_768, says_total=says_total)
    async with reading() as reader:
        for name, data in enumerate(large):
            found = await reader.keyframe(segment(server.url(f"/room/{name}.ts")))
            keyframe = demux_segment(data, CLOCK, CLOCK.utc())[1][0]
            assert len(keyframe.data) > 3 * 32_768
            assert [packet.data for packet in found.packets] == [keyframe.data]
    assert len(room.asked) <= 2 * 9


async def test_a_byte_range_of_a_resource_is_read_to_its_end_in_however_many_parts(
    server: HttpServer, large: list[bytes]
) -> None:
    MeasuredRoom(server, [b"".join(large)], most_part=32_768)
    part = ByteRange(start=len(large[0]), length=len(large[1]))
    async with reading() as reader:
        found = await reader.whole(segment(server.url("/room/0.ts"), part))
    assert found.received == len(large[1])
    assert len(found.packets) == 20


async def test_an_error_in_the_middle_is_not_taken_for_the_segments_end(server: HttpServer, large: list[bytes]) -> None:
    asked: list[str] = []
    room = MeasuredRoom(server, large, most_part=32_768, says_total=False)
    room.fails = lambda name: 503 if asked.append(name) or len(asked) > 1 else None  # type: ignore[func-returns-value]
    async with reading() as reader:
        with pytest.raises(StreamError) as failed:
            await reader.keyframe(segment(server.url("/room/0.ts")))
    assert failed.value.reason is StreamReason.HTTP_ERROR


@pytest.mark.parametrize(
    ("header", "total"),
    [("bytes 5-9/20", 20), ("bytes 5-9/*", None), ("", None), ("items 5-9/20", None), ("bytes */20", None),
     ("bytes 5-9/" + "9" * 5000, None), ("bytes x-9/20", None)],
)  # fmt: skip
def test_what_a_server_says_of_the_whole(header: str, total: int | None) -> None:
    assert range_total(header, 5) == total


def test_another_part_than_was_asked_for_is_refused() -> None:
    with pytest.raises(StreamError) as refused:
        range_total("bytes 0-4/20", 5)
    assert refused.value.reason is StreamReason.HTTP_ERROR


async def test_a_segment_without_a_keyframe_is_no_error_and_whole_segments_are_wanted_for_a_while(
    server: HttpServer,
) -> None:
    with_one, without = halved(ts_segments(seconds=4, segment_s=4.0, gop=40, width=640, height=360, noise=10))
    room = MeasuredRoom(server, [with_one, without])
    async with reading() as reader:
        assert (await reader.keyframe(segment(server.url("/room/0.ts")))).packets
        assert reader.cuts_at_keyframes
        found = await reader.keyframe(segment(server.url("/room/1.ts")))
        assert (found.packets, found.received) == ((), len(without))
        assert len(room.asked) <= 1 + 6
        assert not reader.cuts_at_keyframes
        for _ in range(30):
            assert not reader.cuts_at_keyframes
            await reader.whole(segment(server.url("/room/0.ts")))
        assert reader.cuts_at_keyframes


async def test_a_fragment_without_a_keyframe_is_no_error_either(server: HttpServer) -> None:
    init, parts = fmp4_segments(seconds=8, segment_s=2.0, gop_s=4.0, width=640, height=360, noise=10)
    held = [
        sum(packet.is_keyframe for packet in demux_segment(init + data, CLOCK, CLOCK.utc())[1]) for data in parts[:4]
    ]
    assert held == [1, 0, 1, 0]
    room = MeasuredRoom(server, parts)
    start = server.serve("/room/init.mp4", init)
    async with reading() as reader:
        for name in range(2):
            found = await reader.keyframe(replace(segment(server.url(f"/room/{name}.ts")), init_url=start))
            assert len(found.packets) == held[name]
            assert reader.cuts_at_keyframes is (name == 0)
    assert len(room.asked) <= 2 + 6


class Slow(GuardedHttp):
    """Sends a small part each time, and notes how long it was given for it."""

    def __init__(self) -> None:
        self.given_s: list[float] = []

    async def fetch(self, url: str, *, max_bytes: int, timeout_s: float, part: ByteRange | None = None) -> Fetched:
        self.given_s.append(timeout_s)
        await asyncio.sleep(0.05)
        return Fetched(url=url, body=b"G" * 188, partial=part is not None)


async def test_all_parts_of_a_keyframe_together_have_the_time_of_one_segment() -> None:
    http = Slow()
    with ThreadPoolExecutor(1) as demuxers:
        reader = SegmentReader(http, demuxers, QUICK, CLOCK)
        with pytest.raises(StreamError):
            await reader.keyframe(segment("http://example.com/0.ts"))
    assert len(http.given_s) > 3
    assert http.given_s[0] <= QUICK.segment_timeout_s
    assert all(a - b >= 0.04 for a, b in zip(http.given_s, http.given_s[1:], strict=False))


class Refilling(Unpicky):
    """Wants a refill once it has seen the first segment."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self.sizes: list[int] = []
        self.shown: list[int] = []
        self.refills: list[int] = []
        self._wanted = False

    def begin(self, video: VideoFormat) -> None:
        self.sizes.append(video.width)

    def push(self, packets: Sequence[Packet], received_bytes: int) -> None:
        self.shown += [packet.dts for packet in packets]

    async def drained(self) -> None: ...

    def wants_refill(self) -> bool:
        return self._wanted

    def refill(self, packets: Sequence[Packet], received_bytes: int) -> None:
        self._wanted = False
        self.refills.append(len(packets))

    async def pause(self, seconds: float) -> None:
        self._wanted = not self.refills
        self._server.serve("/r/index.m3u8", playlist(["0.ts", "1.ts", "2.ts"], ended=bool(self.refills)))


async def test_segments_that_a_refill_cannot_use_are_still_played(server: HttpServer) -> None:
    parts = [*ts_segments(seconds=2), ts_segments(seconds=3, width=128, height=72)[2]]
    for name, data in enumerate(parts):
        server.serve(f"/r/{name}.ts", data)
    server.serve("/r/index.m3u8", playlist(["0.ts"]))
    sink = Refilling(server)
    with ThreadPoolExecutor(1) as demuxers:
        async with http_client() as http:
            source = HlsSource(
                server.url("/r/index.m3u8"), http=http, demuxers=demuxers, config=QUICK, clock=CLOCK, paced=False
            )
            await source.run(sink)
    every = [packet.dts for data in parts for packet in demux_segment(data, CLOCK, CLOCK.utc())[1]]
    assert sink.refills == [0]
    assert sink.shown == every
    assert sink.sizes == [320, 128]
