"""Lossless sampling of files and recordings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.hls import HttpServer, playlist
from support.packets import FORMAT, gop, times
from support.video import clip_bytes, ts_segments, write_clip
from support.watching import LOOPBACK, QUICK, until

from monitor.clock import SystemClock
from monitor.errors import StreamError, StreamReason
from monitor.streams.config import NetworkConfig
from monitor.streams.gop import MOST_PACKETS, GopCutter, iter_file, iter_source
from monitor.streams.guard import AddressGuard
from monitor.streams.http import GuardedHttp
from monitor.streams.packet import EncodedFrame
from monitor.streams.reach import Reach
from monitor.streams.sources import choose


def wanted(frames: list[EncodedFrame]) -> list[float]:
    """All wanted instants in seconds."""
    return [float(instant * frame.format.time_base) for frame in frames for instant in frame.instants]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".flv"])
@pytest.mark.parametrize("bframes", [0, 2])
def test_a_file_gives_a_picture_every_interval_to_its_end(tmp_path: Path, suffix: str, bframes: int) -> None:
    clip = write_clip(tmp_path / f"a{suffix}", seconds=6, fps=10, gop=25, bframes=bframes)
    frames = list(iter_file(clip, 0.5))
    got = wanted(frames)
    assert [moment - got[0] for moment in got] == pytest.approx([index * 0.5 for index in range(12)], abs=0.051)
    assert len(frames) == 3


def test_an_interval_longer_than_a_gop_skips_gops(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", seconds=6, fps=10, gop=5)
    got = wanted(list(iter_file(clip, 2.0)))
    assert got == pytest.approx([0.0, 2.0, 4.0], abs=0.01)


def test_a_gop_that_is_too_long_is_cut_and_what_is_left_out_is_counted() -> None:
    lost: list[int] = []
    cutter = GopCutter(1.0, "x", lost.append)
    cutter.begin(FORMAT)
    frames = [frame for item in gop(0, 1000) + gop(100_000, 20) for frame in cutter.push(item)] + cutter.finish()
    assert all(len(frame.packets) <= MOST_PACKETS for frame in frames)
    assert wanted(frames) == [float(second) for second in range(30)] + [100.0, 101.0]
    assert sum(lost) == 70


def test_a_new_epoch_starts_its_own_time() -> None:
    cutter = GopCutter(1.0, "x")
    cutter.begin(FORMAT)
    frames = [frame for item in gop(5000) for frame in cutter.push(item)]
    frames += cutter.begin(FORMAT)
    frames += [frame for item in gop(0, 20) for frame in cutter.push(item)] + cutter.finish()
    assert [(frame.epoch, times(frame.packets)[0]) for frame in frames] == [(1, 5000), (2, 0)]
    assert wanted(frames) == [5.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, StreamReason.FILE_MISSING), (b"", StreamReason.EMPTY_FILE), (b"noise" * 999, StreamReason.BAD_DATA)],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, reason: StreamReason) -> None:
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StreamError) as failed:
        list(iter_file(path, 1.0))
    assert failed.value.reason is reason
    assert not failed.value.retryable


def test_a_file_of_sound_is_no_video(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", seconds=1, sound=True, picture_too=False)
    with pytest.raises(StreamError) as failed:
        list(iter_file(clip, 1.0))
    assert failed.value.reason is StreamReason.NO_VIDEO


def test_a_file_that_breaks_off_gives_what_it_has(tmp_path: Path) -> None:
    whole = clip_bytes(seconds=6, fps=10, gop=10, container="mpegts")
    (tmp_path / "a.ts").write_bytes(whole[: len(whole) // 2])
    got = wanted(list(iter_file(tmp_path / "a.ts", 1.0)))
    assert 2 <= len(got) <= 4


@asynccontextmanager
async def reach(folder: Path | None = None) -> AsyncIterator[Reach]:
    network = NetworkConfig(allow=LOOPBACK.allow, allow_files=(folder,) if folder else ())
    guard = AddressGuard(network)
    with ThreadPoolExecutor(2) as demuxers:
        async with GuardedHttp(guard, open_timeout_s=2) as http:
            yield Reach(guard=guard, http=http, demuxers=demuxers, config=QUICK, clock=SystemClock())


async def test_a_recorded_playlist_is_scanned_whole_and_faster_than_it_plays(server: HttpServer) -> None:
    parts = ts_segments(seconds=20, gop=10)
    for index, data in enumerate(parts):
        server.serve(f"/v/{index}.ts", data)
    server.serve("/v/index.m3u8", playlist([f"{index}.ts" for index in range(20)], ended=True))
    async with reach() as tools:
        source = choose(server.url("/v/index.m3u8"), tools, paced=False)
        begun = SystemClock().monotonic()
        got = wanted([frame async for frame in iter_source(source, 0.5)])
        assert len(got) == 40
        assert SystemClock().monotonic() - begun < 5


async def test_a_recording_is_read_no_faster_than_it_is_taken(server: HttpServer) -> None:
    for index, data in enumerate(ts_segments(seconds=30, gop=10)):
        server.serve(f"/v/{index}.ts", data)
    server.serve("/v/index.m3u8", playlist([f"{index}.ts" for index in range(30)], ended=True))
    async with reach() as tools:
        frames = iter_source(choose(server.url("/v/index.m3u8"), tools, paced=False), 1.0)
        await anext(frames)
        await until(lambda: len(server.requests) >= 5)
        assert len(server.requests) <= 9
        await frames.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize("container", ["flv", "mp4"])
async def test_a_recording_over_http_or_from_a_file_is_scanned_whole(
    server: HttpServer, tmp_path: Path, container: str
) -> None:
    clip = write_clip(tmp_path / f"a.{container}", seconds=10, gop=10)
    url = str(clip) if container == "mp4" else server.serve("/a.flv", clip.read_bytes())
    async with reach(tmp_path) as tools:
        got = wanted([frame async for frame in iter_source(choose(url, tools, paced=False), 1.0)])
    assert [moment - got[0] for moment in got] == pytest.approx(list(range(10)), abs=0.051)


async def test_a_source_that_fails_raises_after_what_it_gave(server: HttpServer) -> None:
    parts = ts_segments(seconds=2)
    server.serve("/v/0.ts", parts[0])
    server.serve("/v/index.m3u8", playlist(["0.ts", "missing.ts"], ended=True))
    got = []
    async with reach() as tools:
        frames = iter_source(choose(server.url("/v/index.m3u8"), tools, paced=False), 1.0)
        got.append(await anext(frames))
        with pytest.raises(StreamError) as failed:
            await anext(frames)
    assert failed.value.reason is StreamReason.NOT_FOUND
    assert len(got) == 1
