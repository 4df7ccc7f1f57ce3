"""A live HLS room slides in time, its clock never stops, and a stopped room is seen to be stopped."""

from __future__ import annotations

import asyncio
import io
import itertools
import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import aiohttp
import av
import pytest

from monitor.clock import ManualClock
from monitor.demo.clip import Clip
from monitor.demo.live_hls import LiveRooms, published_segments
from monitor.demo.segments import SegmentCutter
from monitor.errors import MonitorError

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def fetched(http: aiohttp.ClientSession, url: str) -> tuple[int, str]:
    async with http.get(url) as response:
        return response.status, await response.text()


def names(playlist: str) -> list[str]:
    return re.findall(r"^\d+\.ts$", playlist, re.MULTILINE)


def moved(clock: ManualClock, seconds: float) -> None:
    clock.elapsed_s += seconds
    clock.now += timedelta(seconds=seconds)


async def test_the_playlist_slides_with_time(clip: Clip, http: aiohttp.ClientSession) -> None:
    clock = ManualClock(now=START, elapsed_s=100.0)
    async with LiveRooms(clock) as rooms:
        url = await rooms.add("a", clip)
        assert rooms.started_at("a") == 100.0
        assert (await fetched(http, url))[0] == 404
        moved(clock, 1.99)
        assert (await fetched(http, url))[0] == 404
        moved(clock, 0.02)
        assert names((await fetched(http, url))[1]) == ["0.ts"]
        moved(clock, 28)
        text = (await fetched(http, url))[1]
        assert names(text) == ["11.ts", "12.ts", "13.ts", "14.ts"]
        assert "#EXT-X-MEDIA-SEQUENCE:11\n" in text
        assert "#EXT-X-TARGETDURATION:2\n" in text
        assert f"#EXT-X-PROGRAM-DATE-TIME:{START.replace(second=27):%Y-%m-%dT%H:%M:%S}.000Z" in text
        assert "ENDLIST" not in text


async def test_a_room_that_was_live_before_has_a_full_window_at_once(clip: Clip, http: aiohttp.ClientSession) -> None:
    clock = ManualClock(now=START, elapsed_s=100.0)
    async with LiveRooms(clock) as rooms:
        url = await rooms.add("a", clip, on_air_for_s=9.0)
        assert rooms.started_at("a") == 91.0
        assert names((await fetched(http, url))[1]) == ["0.ts", "1.ts", "2.ts", "3.ts"]


async def test_segments_outside_the_window_are_not_served(clip: Clip, http: aiohttp.ClientSession) -> None:
    clock = ManualClock(now=START, elapsed_s=100.0)
    async with LiveRooms(clock) as rooms:
        url = await rooms.add("a", clip, on_air_for_s=40.5)
        statuses = {}
        for number in (0, 13, 14, 16, 19, 20):
            async with http.get(url.replace("index.m3u8", f"{number}.ts")) as response:
                statuses[number] = response.status
    assert statuses == {0: 404, 13: 404, 14: 200, 16: 200, 19: 200, 20: 404}


async def test_a_stopped_room_is_gone_and_a_frozen_one_stands_still(clip: Clip, http: aiohttp.ClientSession) -> None:
    clock = ManualClock(now=START, elapsed_s=100.0)
    async with LiveRooms(clock) as rooms:
        url = await rooms.add("a", clip, on_air_for_s=9.0)
        before = await fetched(http, url)
        rooms.stop("a", frozen=True)
        moved(clock, 20)
        assert await fetched(http, url) == before
        rooms.stop("a")
        assert (await fetched(http, url))[0] == 404


async def test_a_restarted_room_counts_on_and_is_marked_as_a_discontinuity(
    clip: Clip, http: aiohttp.ClientSession
) -> None:
    clock = ManualClock(now=START, elapsed_s=100.0)
    async with LiveRooms(clock) as rooms:
        url = await rooms.add("a", clip, on_air_for_s=9.0)
        rooms.stop("a")
        moved(clock, 30)
        rooms.restart("a")
        assert rooms.started_at("a") == 130.0
        assert (await fetched(http, url))[0] == 404
        moved(clock, 4.5)
        text = (await fetched(http, url))[1]
        assert names(text) == ["4.ts", "5.ts"]
        assert text.count("#EXT-X-DISCONTINUITY\n") == 1
        assert "#EXT-X-DISCONTINUITY-SEQUENCE:0\n" in text
        moved(clock, 8)
        text = (await fetched(http, url))[1]
        assert names(text) == ["6.ts", "7.ts", "8.ts", "9.ts"]
        assert "#EXT-X-DISCONTINUITY\n" not in text
        assert "#EXT-X-DISCONTINUITY-SEQUENCE:1\n" in text


async def test_libav_reads_a_live_room_for_several_seconds_without_a_gap(clip: Clip) -> None:
    def read(url: str, seconds: float) -> list[tuple[float, bool]]:
        until = time.monotonic() + seconds
        packets = []
        with av.open(url, timeout=(5, 5)) as container:
            for packet in container.demux(video=0):
                packets.append((float(packet.dts * packet.time_base), packet.is_corrupt))
                if time.monotonic() > until:
                    return packets
        return packets

    async with LiveRooms() as rooms:
        # Soon after the start the window holds the clip's end and its beginning.
        url = await rooms.add("a", clip, on_air_for_s=14.1)
        packets = await asyncio.to_thread(read, url, 4.5)
    times = [time for time, _ in packets]
    assert times[0] < 20 < 22.5 < times[-1]
    assert max(abs(b - a - 1 / 15) for a, b in itertools.pairwise(times)) < 0.001
    assert not any(corrupt for _, corrupt in packets)


def test_timestamps_and_continuity_counters_go_on_over_the_loop(clip: Clip) -> None:
    cutter = SegmentCutter(clip)
    data = b"".join(cutter.segment(number) for number in range(4, 15))
    last: dict[int, int] = {}
    for start in range(0, len(data), 188):
        assert data[start] == 0x47
        pid, flags = (data[start + 1] & 0x1F) << 8 | data[start + 2], data[start + 3]
        if flags & 0x10:
            assert flags & 0x0F == (last.get(pid, (flags - 1) & 0x0F) + 1) & 0x0F
            last[pid] = flags & 0x0F
    assert len(last) >= 3
    with av.open(io.BytesIO(data)) as container:
        times = [packet.dts for packet in container.demux(video=0) if packet.size]
    assert {b - a for a, b in itertools.pairwise(times)} == {6000}
    assert len(times) == 11 * 30


def test_each_segment_can_be_decoded_alone(clip: Clip) -> None:
    cutter = SegmentCutter(clip)
    for number in (0, 5, 6, 100_000):
        with av.open(io.BytesIO(cutter.segment(number))) as container:
            frames = list(container.decode(video=0))
        assert len(frames) == 30
        assert frames[0].key_frame
        wrapped = (10 + 2 * number) % (2**33 / 90_000)
        assert frames[0].time == pytest.approx(wrapped, abs=0.001)


@pytest.mark.parametrize(
    ("on_air_s", "expected"), [(-5.0, 0), (0.0, 0), (1.9, 0), (2.0, 1), (4.9, 1), (5.0, 2), (7.0, 3), (502.0, 201)]
)
def test_a_segment_is_published_when_its_end_was_on_the_air(on_air_s: float, expected: int) -> None:
    assert published_segments((2.0, 3.0), on_air_s) == expected


async def test_rooms_that_do_not_exist_or_exist_twice_are_refused(clip: Clip) -> None:
    async with LiveRooms() as rooms:
        await rooms.add("a", clip)
        with pytest.raises(MonitorError, match="room a: there is one"):
            await rooms.add("a", clip)
        for use in (rooms.stop, rooms.restart, rooms.started_at):
            with pytest.raises(MonitorError, match="room b: there is no such room"):
                use("b")
