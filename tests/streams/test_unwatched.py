"""Every second in which a room may be on the air and nothing of it is looked at is counted, with the reason."""

from __future__ import annotations

import asyncio
import time

import pytest
from support.hls import HttpServer, LiveHls, playlist
from support.video import ts_segments
from support.watching import QUICK, Watch, make_stream, until, watching

from monitor.errors import StreamReason
from monitor.streams.feed import StreamFeed
from monitor.streams.lifecycle import unwatched
from monitor.streams.stream import StreamState

LIVE, STALLED = StreamState.LIVE, StreamState.STALLED
WELL = StreamReason.RECEIVING


def seconds(watch: Watch, reason: StreamReason) -> float:
    return watch.metric("monitor_stream_unwatched_seconds_total", reason=reason)


def total(watch: Watch) -> float:
    return sum(seconds(watch, reason) for reason in StreamReason)


@pytest.mark.parametrize(
    ("state", "reason", "sampled_at", "taken_at", "expected"),
    [
        (LIVE, WELL, 97.0, 97.0, None),
        (LIVE, WELL, 95.9, 95.9, StreamReason.KEYFRAMES_RARE),
        (LIVE, WELL, None, None, StreamReason.KEYFRAMES_RARE),
        (LIVE, WELL, 99.0, 95.9, StreamReason.ANALYSIS_BEHIND),
        (LIVE, WELL, 99.0, None, StreamReason.ANALYSIS_BEHIND),
        (STALLED, StreamReason.NO_KEYFRAME, 97.0, 97.0, None),
        (STALLED, StreamReason.NO_KEYFRAME, 90.0, 90.0, StreamReason.NO_KEYFRAME),
        (STALLED, StreamReason.TIME_STUCK, 90.0, 90.0, StreamReason.TIME_STUCK),
        (StreamState.CONNECTING, StreamReason.STARTING, None, None, StreamReason.STARTING),
        (StreamState.BACKING_OFF, StreamReason.REFUSED, 99.0, 99.0, StreamReason.REFUSED),
        (StreamState.ENDED, StreamReason.END_OF_STREAM, 90.0, 90.0, None),
        (StreamState.ENDED, StreamReason.ADDRESS_REFUSED, None, None, StreamReason.ADDRESS_REFUSED),
    ],
)
def test_twice_the_interval_without_a_look_is_a_gap_and_has_a_reason(
    state: StreamState,
    reason: StreamReason,
    sampled_at: float | None,
    taken_at: float | None,
    expected: StreamReason | None,
) -> None:
    found = unwatched(state, reason, interval_s=2.0, sampled_at=sampled_at, taken_at=taken_at, now=100.0)
    assert found is expected


async def test_a_room_that_is_sampled_as_it_should_be_adds_nothing_and_a_lost_one_every_second(
    server: HttpServer, segments: list[bytes]
) -> None:
    rooms = make_stream(LiveHls(server, segments).url, "live"), make_stream(server.url("/none.m3u8"), "lost")
    config = QUICK.model_copy(update={"sample_interval": 2.0})
    async with watching(*rooms, config=config) as watch:
        await watch.state(LIVE, "live")
        await until(lambda: seconds(watch, StreamReason.NOT_FOUND) > 0)
        before, lost, begun = total(watch), seconds(watch, StreamReason.NOT_FOUND), time.monotonic()
        await until(lambda: seconds(watch, StreamReason.NOT_FOUND) - lost >= 4.0)
        passed = time.monotonic() - begun
        # One room was lost all the while, and nothing else went unwatched.
        assert seconds(watch, StreamReason.NOT_FOUND) - lost == pytest.approx(passed, abs=0.6)
        assert total(watch) - before == pytest.approx(seconds(watch, StreamReason.NOT_FOUND) - lost, abs=0.01)


async def test_a_room_whose_keyframes_are_rare_is_counted_beyond_two_intervals(server: HttpServer) -> None:
    segments = ts_segments(seconds=30, segment_s=6.0, gop=60)
    room = LiveHls(server, segments, segment_s=6.0, window=5)
    room._started -= 6.0
    config = QUICK.model_copy(update={"sample_interval": 0.5, "stall_after_s": 30.0})
    async with watching(make_stream(room.url), config=config) as watch:
        await watch.state(LIVE)
        await until(lambda: seconds(watch, StreamReason.KEYFRAMES_RARE) >= 1.0)


async def test_a_room_whose_samples_nobody_takes_is_counted_as_behind(
    server: HttpServer, segments: list[bytes]
) -> None:
    async def busy(feed: StreamFeed) -> None:
        await feed.next_frame()
        await asyncio.Event().wait()

    config = QUICK.model_copy(update={"sample_interval": 2.0})
    async with watching(make_stream(LiveHls(server, segments).url), config=config, consume=busy) as watch:
        await until(lambda: seconds(watch, StreamReason.ANALYSIS_BEHIND) >= 1.0)
        assert seconds(watch, StreamReason.KEYFRAMES_RARE) < 1.0


async def test_a_room_that_has_ended_is_not_missed(server: HttpServer, segments: list[bytes]) -> None:
    server.serve("/v/0.ts", segments[0])
    url = server.serve("/v/index.m3u8", playlist(["0.ts"], ended=True))
    config = QUICK.model_copy(update={"ended_probe_s": 60.0})
    async with watching(make_stream(url), config=config) as watch:
        assert (await watch.state(StreamState.ENDED)).reason is StreamReason.END_OF_STREAM
        before, begun = total(watch), time.monotonic()
        await until(lambda: time.monotonic() - begun > 1.0)
        assert total(watch) == before
