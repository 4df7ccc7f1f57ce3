"""HLS where pictures are wanted seldom: keyframes alone are fetched, and whole segments around a candidate."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from aiohttp import web
from support.hls import HttpServer
from support.measured_hls import MeasuredRoom
from support.video import halved, ts_segments
from support.watching import QUICK, make_stream, until, watching

from monitor.faces.decode import Decoder
from monitor.streams.feed import StreamFeed
from monitor.streams.sampling import Attention, SamplingPolicy
from monitor.streams.stream import StreamState

EVERY_10_S = QUICK.model_copy(update={"sample_interval": 10.0, "stall_after_s": 5.0})


@pytest.fixture(scope="module")
def segments() -> list[bytes]:
    """Seventy seconds in segments of 2 s with a keyframe each, in a size that makes a keyframe a small part."""
    return ts_segments(seconds=70, segment_s=2.0, fps=10, gop=20, width=640, height=360, noise=10)


async def test_at_10_s_less_than_a_tenth_of_the_bytes_of_whole_segments_is_fetched(
    server: HttpServer, segments: list[bytes]
) -> None:
    room = MeasuredRoom(server, segments, speed=10, window=30)
    async with watching(make_stream(room.url), config=EVERY_10_S) as watch:
        await until(lambda: len(watch.frames["room"]) >= 6)
        frames = watch.frames["room"]
        passed = room.edge + 1
        assert room.bytes_sent < sum(map(len, segments[:passed])) / 10
        assert len(room.asked) <= len(frames) * 2
        assert all(part for _, part in room.asked)
        gaps = [b.stream_time - a.stream_time for a, b in pairwise(frames)]
        assert all(8 <= gap <= 12.1 for gap in gaps), gaps
        assert {frame.epoch for frame in frames} == {1}
        assert all(next(Decoder().pictures(frame)) is not None for frame in frames)
        await until(lambda: watch.status().bytes_received == room.bytes_sent)


async def test_a_server_that_refuses_ranges_is_read_in_whole_segments_but_only_those_that_are_due(
    server: HttpServer, segments: list[bytes]
) -> None:
    room = MeasuredRoom(server, segments, speed=10, window=30, ranges=False)
    async with watching(make_stream(room.url), config=EVERY_10_S) as watch:
        await until(lambda: len(watch.frames["room"]) >= 3)
        assert {frame.epoch for frame in watch.frames["room"]} == {1}
        assert [part for _, part in room.asked] == [True, *[False] * (len(room.asked) - 1)]
        assert len(room.asked) <= len(watch.frames["room"]) + 2


async def test_a_candidate_has_the_segments_around_it_fetched_whole_in_the_same_epoch(
    server: HttpServer, segments: list[bytes]
) -> None:
    room = MeasuredRoom(server, segments, speed=2, first=4)
    held: list[tuple[float, float]] = []
    pictures: list[list[float]] = []

    async def consume(feed: StreamFeed) -> None:
        while True:
            frame = await feed.next_frame()
            if not held:
                feed.settle(Attention.UNDECIDED)
                assert await feed.fill_ring(frame.epoch, 5.0)
                held.append((feed.ring.oldest_time or 0, feed.ring.newest_time or 0))
                wanted = [frame.stream_time + offset for offset in (-1.0, 0.5, 1.0)]
                pictures.append([found.stream_time - frame.stream_time for found in feed.ring.frames_at(wanted)])
                assert feed.ring.epoch == frame.epoch
                assert feed.ring.oldest_time < frame.stream_time < feed.ring.newest_time

    async with watching(make_stream(room.url), config=EVERY_10_S, consume=consume) as watch:
        await until(lambda: bool(pictures))
        assert pictures == [pytest.approx([-1.0, 1.0], abs=0.05)]
        assert held[0][1] - held[0][0] > 4
        # For a ring's length everything is read, so that a clip can be cut.
        await until(lambda: watch.feed().ring.newest_time - held[0][1] > 4)
        assert watch.metric("monitor_stream_consumer_restarts_total") == 0
        assert watch.feed().ring.epoch == 1


async def test_a_keyframe_is_had_for_one_request_once_their_size_is_known(
    server: HttpServer, segments: list[bytes]
) -> None:
    room = MeasuredRoom(server, segments, speed=10, window=30)
    async with watching(make_stream(room.url), config=EVERY_10_S) as watch:
        await until(lambda: len(watch.frames["room"]) >= 4)
        assert len(room.asked) <= len({name for name, _ in room.asked}) + 1
        largest = max(frame.size for frame in watch.frames["room"])
        assert all(sent < 2 * largest for sent in list(room.sent.values())[1:])


async def test_a_playlist_of_keyframes_is_read_where_it_is_offered(server: HttpServer, segments: list[bytes]) -> None:
    room = MeasuredRoom(server, segments, speed=10, window=30)
    lines = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=900,RESOLUTION=640x360\nroom/index.m3u8\n"
    lines += '#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=90,RESOLUTION=640x360,URI="room/keys.m3u8"\n'
    master = server.serve("/master.m3u8", lines)

    async def keys(_: web.Request) -> web.Response:
        first = max(0, room.edge - 30)
        text = (
            f"#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-I-FRAMES-ONLY\n"
        )
        for index in range(first, room.edge + 1):
            text += f"#EXTINF:2,\n#EXT-X-BYTERANGE:{len(segments[index]) // 4}@0\n{index}.ts\n"
        return web.Response(text=text)

    server.route("/room/keys.m3u8", keys)
    async with watching(make_stream(master), config=EVERY_10_S) as watch:
        await until(lambda: len(watch.frames["room"]) >= 4)
        assert server.requests["/room/index.m3u8"] <= 2
        assert server.requests["/room/keys.m3u8"] >= 2
        assert all(part for _, part in room.asked[1:])
        assert {frame.epoch for frame in watch.frames["room"]} == {1}


EVERY_SECOND = QUICK.model_copy(update={"stall_after_s": 5.0})


@pytest.fixture(scope="module")
def seconds() -> list[bytes]:
    """Thirty segments of one second with a keyframe each."""
    return ts_segments(seconds=30, segment_s=1.0, fps=10, gop=10, width=640, height=360, noise=10)


async def test_a_room_sampled_once_a_segment_is_read_by_its_keyframes_with_two_requests_each(
    server: HttpServer, seconds: list[bytes]
) -> None:
    room = MeasuredRoom(server, seconds, segment_s=1.0)
    async with watching(make_stream(room.url), config=EVERY_SECOND) as watch:
        await until(lambda: len(watch.frames["room"]) >= 7)
        polls = server.requests["/room/index.m3u8"]
        frames, asked = watch.frames["room"], list(room.asked)
        assert all(part for _, part in asked)
        # The first keyframe's size is not known before.
        assert len(asked) <= len(frames) + 3
        assert polls <= 2 * len(frames) + 2
        assert room.bytes_sent < sum(map(len, seconds[: room.edge + 1])) / 2
        gaps = [b.stream_time - a.stream_time for a, b in pairwise(frames)]
        # On a machine that stalls the newest wins, so one may be missing in between.
        assert gaps == pytest.approx([max(1.0, round(gap)) for gap in gaps], abs=0.01)
        assert {frame.epoch for frame in frames} == {1}
        assert all(next(Decoder().pictures(frame)) is not None for frame in frames)


async def test_a_candidate_in_a_room_sampled_once_a_segment_has_the_pictures_around_it(
    server: HttpServer, seconds: list[bytes]
) -> None:
    room = MeasuredRoom(server, seconds, segment_s=1.0, first=4)
    pictures: list[list[float]] = []

    async def consume(feed: StreamFeed) -> None:
        while True:
            frame = await feed.next_frame()
            if not pictures and len(room.asked) > 2:
                feed.settle(Attention.UNDECIDED)
                assert await feed.fill_ring(frame.epoch, 5.0)
                wanted = [frame.stream_time + offset for offset in (-1.5, -0.5, 0.5)]
                pictures.append([found.stream_time - frame.stream_time for found in feed.ring.frames_at(wanted)])
                assert feed.ring.epoch == frame.epoch

    async with watching(make_stream(room.url), config=EVERY_SECOND, consume=consume) as watch:
        await until(lambda: bool(pictures))
        assert pictures == [pytest.approx([-1.5, -0.5, 0.5], abs=0.06)]
        # Then everything is read for as long as the ring is: nothing of it is missing.
        edge = room.edge
        await until(lambda: room.edge >= edge + 3)
        assert not room.asked[-1][1]
        assert watch.metric("monitor_stream_consumer_restarts_total") == 0


async def test_segments_of_several_gops_are_fetched_whole_where_each_is_wanted(server: HttpServer) -> None:
    parts = ts_segments(seconds=20, segment_s=2.0, fps=10, gop=10)
    room = MeasuredRoom(server, parts, segment_s=2.0)
    async with watching(make_stream(room.url), config=EVERY_SECOND) as watch:
        await until(lambda: len(watch.frames["room"]) >= 5)
        gaps = [b.stream_time - a.stream_time for a, b in pairwise(watch.frames["room"])]
        # On a machine that stalls the newest wins, so one may be missing in between.
        assert gaps == pytest.approx([max(1.0, round(gap)) for gap in gaps], abs=0.01)
        assert not any(part for _, part in room.asked)


async def test_a_server_that_fails_once_is_still_asked_for_parts(server: HttpServer, seconds: list[bytes]) -> None:
    failed: list[str] = []

    def fails(name: str) -> int | None:
        if name == "4.ts" and not failed:
            failed.append(name)
            return 503
        return None

    room = MeasuredRoom(server, seconds, segment_s=1.0, fails=fails)
    async with watching(make_stream(room.url), config=EVERY_SECOND) as watch:
        await until(lambda: any(name == "6.ts" for name, _ in room.asked))
        assert all(part for _, part in room.asked)
        assert watch.status().connects == 1


async def test_an_adaptive_room_is_sparse_only_while_it_is_quiet(server: HttpServer, segments: list[bytes]) -> None:
    room = MeasuredRoom(server, segments, speed=5)
    config = QUICK.model_copy(update={"sampling": SamplingPolicy.ADAPTIVE, "sample_interval": 1.5, "stall_after_s": 5})
    calls = [Attention.QUIET] * 8 + [Attention.CANDIDATE] * 100
    times: list[float] = []

    async def consume(feed: StreamFeed) -> None:
        while True:
            times.append((await feed.next_frame()).stream_time)
            feed.settle(calls[len(times) - 1])

    async with watching(make_stream(room.url), config=config, consume=consume) as watch:
        await until(lambda: len(times) >= 11)
        gaps = np.diff(times)
        assert max(gaps[:9]) > 5.9
        assert gaps[-1] < 4.1
        assert watch.status().state is StreamState.LIVE
        assert any(part for _, part in room.asked)
        assert not room.asked[-1][1]


@pytest.fixture(scope="module")
def long_gops() -> list[bytes]:
    """Forty seconds in segments of 2 s, of which only every other one holds a keyframe."""
    return halved(ts_segments(seconds=40, segment_s=4.0, fps=10, gop=40, width=640, height=360, noise=10))


async def test_a_room_whose_segments_need_not_hold_a_keyframe_is_read_whole_with_one_request_each(
    server: HttpServer, long_gops: list[bytes]
) -> None:
    # It is joined on a segment without one.
    room = MeasuredRoom(server, long_gops, speed=4, first=2, window=6)
    config = QUICK.model_copy(update={"sample_interval": 2.0, "stall_after_s": 5.0})
    async with watching(make_stream(room.url), config=config) as watch:
        await until(lambda: len(watch.frames["room"]) >= 4)
        names = [name for name, _ in room.asked]
        assert names[0] == "1.ts"
        rest = [(name, part) for name, part in room.asked if name != "1.ts"]
        assert not any(part for _, part in rest)
        assert len({name for name, _ in rest}) == len(rest)
        assert watch.status().connects == 1
        assert watch.metric("monitor_stream_retries_total", reason="no_keyframe") == 0
        assert {frame.epoch for frame in watch.frames["room"]} == {1}
        assert all(next(Decoder().pictures(frame)) is not None for frame in watch.frames["room"])
