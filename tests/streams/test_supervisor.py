"""The supervisor: states, separation of streams, files, and what is counted."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx
from support.hls import HttpServer, LiveHls, playlist
from support.video import write_clip
from support.watching import LOOPBACK, QUICK, make_stream, until, watching

from monitor.errors import StreamReason
from monitor.streams.config import NetworkConfig
from monitor.streams.feed import StreamFeed
from monitor.streams.stream import StreamState


async def test_a_file_is_played_in_real_time_and_then_ended_for_good(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", seconds=3, gop=5)
    network = NetworkConfig(allow_files=(tmp_path,))
    config = QUICK.model_copy(update={"sample_interval": 0.5})
    begun = time.monotonic()
    async with watching(make_stream(str(clip)), network=network, config=config) as watch:
        await watch.state(StreamState.LIVE)
        status = await watch.state(StreamState.ENDED)
        assert status.reason is StreamReason.END_OF_STREAM
        assert 2.5 <= time.monotonic() - begun <= 15
        assert status.frames_sampled == 6
        assert len(watch.frames["room"]) == 6 - status.frames_dropped
        await asyncio.sleep(3 * QUICK.ended_probe_s)
        assert watch.status().connects == 1


async def test_without_any_stream_the_supervisor_goes_on_until_it_is_cancelled() -> None:
    async with watching() as watch:
        assert watch.supervisor.statuses() == {}
        await asyncio.sleep(0.1)


async def test_a_consumer_that_raises_is_started_again_and_the_other_stream_goes_on(
    server: HttpServer, segments: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    rooms = LiveHls(server, segments, name="a"), LiveHls(server, segments, name="b")
    taken = {"a": 0, "b": 0}

    async def consume(feed: StreamFeed) -> None:
        while True:
            await feed.next_frame()
            taken[feed.stream.id] += 1
            if feed.stream.id == "a" and taken["a"] == 1:
                raise ZeroDivisionError("a defect")

    async with watching(make_stream(rooms[0].url, "a"), make_stream(rooms[1].url, "b"), consume=consume) as watch:
        await until(lambda: taken["a"] >= 2 and taken["b"] >= 3)
        assert watch.metric("monitor_stream_consumer_restarts_total") == 1
        assert watch.status("a").connects == watch.status("b").connects == 1
    assert "ZeroDivisionError: a defect" in caplog.text


async def test_a_consumer_that_is_slow_gets_the_newest_frame_and_the_drops_are_counted(
    server: HttpServer, segments: list[bytes]
) -> None:
    room = LiveHls(server, segments)
    gate = asyncio.Event()
    got: list[float] = []

    async def consume(feed: StreamFeed) -> None:
        await gate.wait()
        got.append((await feed.next_frame()).stream_time)
        await asyncio.Event().wait()

    async with watching(make_stream(room.url), consume=consume) as watch:
        await until(lambda: watch.status().frames_sampled >= 3)
        newest = watch.status().frames_dropped
        gate.set()
        await until(lambda: bool(got))
        assert newest >= 2
        assert watch.metric("monitor_frames_dropped_total") == watch.status().frames_dropped


async def test_repeated_failures_are_logged_once_for_each_back_off_and_counted(
    server: HttpServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with watching(make_stream(server.url("/none.m3u8"))) as watch:
        await until(lambda: watch.status().connects >= 5)
    failures = watch.metric("monitor_stream_failures_total", reason="not_found")
    lines = [line for line in caplog.messages if line.startswith("stream_state")]
    assert lines[0].startswith("stream_state stream=room state=connecting reason=starting")
    assert len(lines) == 1 + failures
    assert "failures=3" in lines[3]
    assert "none.m3u8" not in caplog.text


async def test_a_live_room_whose_segments_stop_is_stalled_and_live_again_when_they_go_on(
    server: HttpServer, segments: list[bytes]
) -> None:
    server.serve("/s/0.ts", segments[0])
    server.serve("/s/1.ts", segments[1])
    server.serve("/s/index.m3u8", playlist(["0.ts"]))
    config = QUICK.model_copy(update={"stall_grace_s": 30.0})
    async with watching(make_stream(server.url("/s/index.m3u8")), config=config) as watch:
        await watch.state(StreamState.LIVE)
        assert (await watch.state(StreamState.STALLED)).reason is StreamReason.NO_KEYFRAME
        server.serve("/s/index.m3u8", playlist(["0.ts", "1.ts"]))
        await watch.state(StreamState.LIVE)
        assert watch.status().connects == 1


async def test_reading_rooms_never_blocks_the_event_loop(
    server: HttpServer, segments: list[bytes], tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "a.mp4", seconds=3, gop=5)
    room = LiveHls(server, segments)
    network = NetworkConfig(allow=LOOPBACK.allow, allow_files=(tmp_path,))
    rooms = (
        make_stream(room.url, "hls"),
        make_stream(str(clip), "file"),
        make_stream("http://127.0.0.1:9/x.flv", "none"),
    )
    with blockbuster_ctx("monitor.streams"):
        async with watching(*rooms, network=network) as watch:
            await watch.state(StreamState.ENDED, "file")
            assert watch.status("file").reason is StreamReason.END_OF_STREAM
            assert watch.status("hls").state is StreamState.LIVE
            assert watch.status("none").reason is StreamReason.REFUSED
