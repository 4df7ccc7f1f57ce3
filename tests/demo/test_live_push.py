"""HTTP-FLV and RTMP rooms are paced in real time, begin at a keyframe, and end when they are stopped."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import av
import pytest
from support.waiting import wait_for

from monitor.demo.clip import Clip
from monitor.demo.live_flv import LiveFlv
from monitor.demo.live_rtmp import LiveRtmp
from monitor.errors import MonitorError

Server = LiveFlv | LiveRtmp
PROBING = {"analyzeduration": "500000", "probesize": "65536"}


@pytest.fixture(params=[LiveFlv, LiveRtmp], ids=["http-flv", "rtmp"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    async with request.param() as running:
        yield running


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    at: float
    dts_s: float
    pts_s: float
    is_keyframe: bool


def read(url: str, seconds: float, into: list[Read] | None = None, *, least: int = 1) -> list[Read]:
    """What libav reads within ``seconds``, ``least`` packets however long it takes, or until the stream ends; ``into``
    can be watched meanwhile."""
    until = time.monotonic() + seconds
    packets: list[Read] = [] if into is None else into
    with av.open(url, timeout=(5, 5), options=PROBING) as container:
        stream = container.streams.video[0]
        packed = container.demux(stream)
        while time.monotonic() < until or len(packets) < least:
            try:
                packet = next(packed)
            except (OSError, StopIteration):
                break
            if packet.size:
                packets.append(
                    Read(
                        at=time.monotonic(),
                        dts_s=float(packet.dts * packet.time_base),
                        pts_s=float(packet.pts * packet.time_base),
                        is_keyframe=packet.is_keyframe,
                    )
                )
    return packets


async def test_a_viewer_begins_at_the_last_keyframe_and_is_paced_in_real_time_over_the_loop(
    server: Server, clip: Clip
) -> None:
    url = await server.add("a", clip, on_air_for_s=8.2)
    packets = await asyncio.to_thread(read, url, 4.0, least=69)
    assert packets[0].is_keyframe
    assert packets[0].dts_s == pytest.approx(8.0, abs=0.002)
    assert all(0.065 < b.dts_s - a.dts_s < 0.068 for a, b in itertools.pairwise(packets))
    assert packets[-1].dts_s > 12.5
    started = server.started_at("a")
    late = [packet.at - (started + packet.dts_s) for packet in packets if packet.dts_s > 10]
    assert min(late) > -0.01
    assert sorted(late)[len(late) // 2] < 0.2


async def test_two_viewers_see_the_same_room(server: Server, clip: Clip) -> None:
    url = await server.add("a", clip, on_air_for_s=2.2)
    first, second = await asyncio.gather(*(asyncio.to_thread(read, url, 1.0, least=20) for _ in range(2)))
    assert [packet.pts_s for packet in first[:20]] == [packet.pts_s for packet in second[:20]]


async def test_a_stopped_room_ends_its_viewers_and_refuses_new_ones_until_it_is_restarted(
    server: Server, clip: Clip
) -> None:
    url = await server.add("a", clip, on_air_for_s=3.0)
    seen: list[Read] = []
    viewer = asyncio.create_task(asyncio.to_thread(read, url, 30.0, seen))
    await wait_for(lambda: len(seen) > 20, timeout_s=30, what="pictures")
    server.stop("a")
    stopped = time.monotonic()
    assert await viewer
    assert time.monotonic() - stopped < 4.0
    with pytest.raises(av.error.FFmpegError, match=r"404|not permitted"):
        await asyncio.to_thread(read, url, 1.0)
    with pytest.raises(MonitorError, match="off the air"):
        server.started_at("a")
    server.restart("a", on_air_for_s=0.2)
    packets = await asyncio.to_thread(read, url, 1.0)
    assert packets[0].dts_s == 0


async def test_closing_the_server_does_not_wait_for_viewers(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.demo.loopback._CLOSE_S", 30.0)
    for kind in (LiveFlv, LiveRtmp):
        async with kind() as server:
            url = await server.add("a", clip, on_air_for_s=3.0)
            seen: list[Read] = []
            viewer = asyncio.create_task(asyncio.to_thread(read, url, 30.0, seen))
            await wait_for(lambda seen=seen: len(seen) > 20, timeout_s=30, what="pictures")
            closing = time.monotonic()
        assert time.monotonic() - closing < 10.0
        assert await viewer


async def test_a_viewer_that_sends_rubbish_disturbs_nobody(clip: Clip) -> None:
    async with LiveRtmp() as server:
        url = await server.add("a", clip, on_air_for_s=3.0)
        port = int(url.split(":")[2].split("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x03" + bytes(1536) + bytes(1536) + b"\x03\xff\xff\xff\xff\xff\xff\x14" + bytes(20))
        with pytest.raises(asyncio.IncompleteReadError):
            await reader.readexactly(100_000)
        writer.close()
        assert await asyncio.to_thread(read, url, 0.5)
