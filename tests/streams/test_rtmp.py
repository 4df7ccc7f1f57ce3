"""RTMP from a real nginx-rtmp with a real ffmpeg as publisher, and HTTP-FLV."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest
from aiohttp import web
from support.collecting import on_air
from support.hls import HttpServer, tcp_server
from support.rtmp import RtmpServer, missing_programs, nginx_rtmp, publisher
from support.video import clip_bytes, write_clip
from support.watching import IMPATIENT, QUICK, make_stream, until, watching

from monitor.errors import StreamReason
from monitor.streams.stream import StreamState

needs_rtmp = pytest.mark.skipif(bool(missing_programs()), reason=missing_programs() or "all there")
LIVE = QUICK.model_copy(update={"open_timeout_s": 8.0, "read_timeout_s": 3.0, "stall_grace_s": 10.0})


@pytest.fixture
def rtmp(tmp_path: Path) -> Iterator[RtmpServer]:
    with nginx_rtmp(tmp_path) as server:
        yield server


@needs_rtmp
@pytest.mark.parametrize("sound", [False, True], ids=["picture only", "with sound"])
async def test_an_rtmp_room_is_live_within_a_few_seconds_and_sampled_at_every_keyframe(
    rtmp: RtmpServer, tmp_path: Path, sound: bool
) -> None:
    clip = write_clip(tmp_path / "room.flv", seconds=20, fps=15, gop=15, sound=sound)
    with publisher(clip, rtmp.url("room")):
        await on_air(rtmp.url("room"))
        async with watching(make_stream(rtmp.url("room")), config=LIVE) as watch:
            begun = time.monotonic()
            await watch.state(StreamState.LIVE)
            assert time.monotonic() - begun < 4
            await until(lambda: len(watch.frames["room"]) >= 4)
            steps = [b.stream_time - a.stream_time for a, b in pairwise(watch.frames["room"][:4])]
            assert steps == pytest.approx([round(step) for step in steps], abs=0.1)
            assert sum(round(step) - 1 for step in steps) <= watch.status().frames_dropped
            assert min(steps) > 0.5
            assert watch.frames["room"][0].format.codec == "h264"


@needs_rtmp
async def test_a_publisher_that_is_killed_and_comes_back_is_picked_up_in_a_new_epoch(
    rtmp: RtmpServer, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "room.flv", seconds=10, fps=15, gop=15, sound=True)
    with ExitStack() as stack:
        process = stack.enter_context(publisher(clip, rtmp.url("room")))
        async with watching(make_stream(rtmp.url("room")), config=LIVE) as watch:
            await watch.state(StreamState.LIVE)
            process.kill()
            status = await watch.state(StreamState.BACKING_OFF)
            assert status.reason in (StreamReason.CLOSED_BY_PEER, StreamReason.NOT_FOUND)
            epoch = watch.feed().ring.epoch
            with publisher(clip, rtmp.url("room")):
                await watch.state(StreamState.LIVE)
                assert watch.feed().ring.epoch > epoch


@needs_rtmp
async def test_a_room_that_nobody_publishes_is_not_found(rtmp: RtmpServer) -> None:
    async with watching(make_stream(rtmp.url("none")), config=LIVE) as watch:
        assert (await watch.state(StreamState.BACKING_OFF)).reason is StreamReason.NOT_FOUND


@needs_rtmp
async def test_a_room_with_sound_only_is_no_video(rtmp: RtmpServer, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "sound.flv", seconds=10, sound=True, picture_too=False)
    config = LIVE.model_copy(update={"open_timeout_s": 2.0})
    with publisher(clip, rtmp.url("sound")):
        async with watching(make_stream(rtmp.url("sound")), config=config) as watch:
            await until(lambda: watch.status().reason is StreamReason.NO_VIDEO)
            await watch.state(StreamState.BACKING_OFF)


@needs_rtmp
async def test_stopping_beside_a_running_rtmp_room_takes_under_two_seconds_and_leaves_no_thread(
    rtmp: RtmpServer, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "room.flv", seconds=10, fps=15, gop=15, sound=True)
    with publisher(clip, rtmp.url("room")):
        async with watching(make_stream(rtmp.url("room")), config=LIVE) as watch:
            await watch.state(StreamState.LIVE)
            begun = time.monotonic()
        assert time.monotonic() - begun < 2
        await until(lambda: not any(thread.name == "libav" for thread in threading.enumerate()), within_s=4)


@needs_rtmp
async def test_an_rtmp_room_that_begins_to_drip_times_out_although_bytes_still_come(
    rtmp: RtmpServer, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "room.flv", seconds=10, fps=15, gop=15, sound=True)
    drip = asyncio.Event()
    dripped = 0

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal dripped
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", rtmp.port)

        async def upstream() -> None:
            while data := await reader.read(4096):
                inner_writer.write(data)

        forward = asyncio.create_task(upstream())
        try:
            while data := await inner_reader.read(1 if drip.is_set() else 4096):
                writer.write(data)
                await writer.drain()
                if drip.is_set():
                    dripped += 1
                    await asyncio.sleep(0.2)
        finally:
            forward.cancel()
            await asyncio.gather(forward, return_exceptions=True)
            inner_writer.close()

    with publisher(clip, rtmp.url("room")):
        async with tcp_server(proxy) as port:
            config = LIVE.model_copy(update={"read_timeout_s": 4.0, "stall_grace_s": 60.0})
            async with watching(make_stream(f"rtmp://127.0.0.1:{port}/live/room"), config=config) as watch:
                await watch.state(StreamState.LIVE)
                drip.set()
                await until(lambda: watch.metric("monitor_stream_failures_total", reason="read_timeout") > 0)
                assert dripped >= 5


class FlvRoom:
    """A live HTTP-FLV room: the clip in real time, then silence or the end."""

    def __init__(self, server: HttpServer, data: bytes, seconds: float, *, hang_up: bool) -> None:
        self._data, self._seconds, self._hang_up = data, seconds, hang_up
        self.url = server.route("/room.flv", self._serve)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "video/x-flv"})
        await response.prepare(request)
        steps = 40
        size = len(self._data) // steps + 1
        for at in range(0, len(self._data), size):
            await response.write(self._data[at : at + size])
            await asyncio.sleep(self._seconds / steps)
        if not self._hang_up:
            await asyncio.Event().wait()
        return response


@pytest.mark.parametrize("sound", [False, True], ids=["picture only", "with sound"])
async def test_an_http_flv_room_is_live_and_its_end_is_tried_again(server: HttpServer, sound: bool) -> None:
    room = FlvRoom(server, clip_bytes(seconds=4, gop=10, container="flv", live=True, sound=sound), 4.0, hang_up=True)
    async with watching(make_stream(room.url), config=LIVE) as watch:
        await watch.state(StreamState.LIVE)
        status = await watch.state(StreamState.BACKING_OFF)
        assert status.reason is StreamReason.CLOSED_BY_PEER
        assert len(watch.frames["room"]) + status.frames_dropped >= 3
        await until(lambda: server.requests["/room.flv"] >= 2)


async def test_an_http_flv_room_whose_picture_stops_times_out(server: HttpServer) -> None:
    room = FlvRoom(server, clip_bytes(seconds=2, gop=10, container="flv", live=True), 1.0, hang_up=False)
    async with watching(make_stream(room.url), config=IMPATIENT) as watch:
        await watch.state(StreamState.LIVE)
        assert (await watch.state(StreamState.BACKING_OFF)).reason is StreamReason.READ_TIMEOUT


async def test_a_recording_over_http_is_played_once(server: HttpServer) -> None:
    url = server.serve("/v.flv", clip_bytes(seconds=1, gop=5, container="flv"))
    async with watching(make_stream(url)) as watch:
        assert (await watch.state(StreamState.ENDED)).reason is StreamReason.END_OF_STREAM
        received = watch.status().bytes_received
        await until(lambda: server.requests["/v.flv"] >= 3)
        assert watch.status().bytes_received == received


async def test_an_http_flv_room_may_redirect(server: HttpServer) -> None:
    room = FlvRoom(server, clip_bytes(seconds=4, gop=10, container="flv", live=True), 4.0, hang_up=False)

    async def redirect(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": room.url})

    async with watching(make_stream(server.route("/start.flv", redirect))) as watch:
        await watch.state(StreamState.LIVE)
