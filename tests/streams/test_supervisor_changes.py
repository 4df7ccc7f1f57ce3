"""Streams come, change and go while the supervisor runs."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

from support.hls import HttpServer, LiveHls
from support.stalls import machine_stalls
from support.video import write_clip
from support.watching import QUICK, make_stream, until, watching

from monitor.streams.config import NetworkConfig
from monitor.streams.stream import StreamState


async def test_a_stream_that_is_added_is_being_connected_within_a_second(
    server: HttpServer, segments: list[bytes]
) -> None:
    room = LiveHls(server, segments)
    async with machine_stalls() as stalls, watching() as watch:
        begun = time.monotonic()
        watch.frames["new"] = []
        watch.supervisor.add(make_stream(room.url, "new"))
        await until(lambda: sum(server.requests.values()) > 0)
        took_s = time.monotonic() - begun
        await watch.state(StreamState.LIVE, "new")
        await until(lambda: len(watch.frames["new"]) > 0)
    assert took_s < 1 + sum(stalls)


async def test_one_that_is_removed_is_left_at_once_and_the_others_notice_nothing(
    server: HttpServer, segments: list[bytes]
) -> None:
    rooms = LiveHls(server, segments, name="a"), LiveHls(server, segments, name="b")
    async with watching(make_stream(rooms[0].url, "a"), make_stream(rooms[1].url, "b")) as watch:
        await watch.state(StreamState.LIVE, "a")
        await watch.state(StreamState.LIVE, "b")
        watch.supervisor.remove("a")
        assert "a" not in watch.supervisor.statuses()
        assert watch.supervisor.status("a") is None
        await until(lambda: watch.metric("monitor_streams", state="live") == 1)
        asked = server.requests["/a/index.m3u8"]
        seen = server.requests["/b/index.m3u8"]
        await until(lambda: server.requests["/b/index.m3u8"] >= seen + 3)
        assert server.requests["/a/index.m3u8"] <= asked + 1
        assert watch.status("b").connects == 1
        watch.supervisor.remove("a")
        watch.supervisor.remove("unknown")


async def test_one_that_is_added_again_with_another_address_is_read_from_there(
    server: HttpServer, segments: list[bytes]
) -> None:
    rooms = LiveHls(server, segments, name="a"), LiveHls(server, segments, name="b")
    async with watching(make_stream(rooms[0].url, "room")) as watch:
        await watch.state(StreamState.LIVE)
        watch.supervisor.add(make_stream(rooms[1].url, "room"))
        await until(lambda: "/b/index.m3u8" in server.requests)
        await watch.state(StreamState.LIVE)
        await until(lambda: watch.metric("monitor_streams", state="live") == 1)
        asked = server.requests["/a/index.m3u8"]
        seen = server.requests["/b/index.m3u8"]
        await until(lambda: server.requests["/b/index.m3u8"] >= seen + 3)
        assert server.requests["/a/index.m3u8"] <= asked + 1


def readers() -> int:
    """Threads, without those that the event loop keeps for short jobs."""
    return sum(1 for thread in threading.enumerate() if not thread.name.startswith("asyncio_"))


async def test_a_hundred_that_come_and_go_leave_no_task_thread_or_count_behind(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", seconds=30, gop=5)
    network = NetworkConfig(allow_files=(tmp_path,))
    async with watching(make_stream(str(clip), "first"), network=network, config=QUICK) as watch:
        for number in range(20):
            watch.frames[f"s{number}"] = []
        await watch.state(StreamState.LIVE, "first")
        tasks, threads = len(asyncio.all_tasks()), readers()
        for turn in range(5):
            for number in range(20):
                watch.supervisor.add(make_stream(str(clip), f"s{number}"))
            if turn % 2:  # every other turn they get as far as being read
                await watch.state(StreamState.LIVE, "s19")
            for number in range(20):
                watch.supervisor.remove(f"s{number}")
        await until(lambda: len(asyncio.all_tasks()) == tasks)
        await until(lambda: readers() == threads)
        for state in StreamState:
            assert watch.metric("monitor_streams", state=state) == (state is StreamState.LIVE), state
        assert set(watch.supervisor.statuses()) == {"first"}
