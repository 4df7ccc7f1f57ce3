"""HLS as real packagers write it (nginx-rtmp, ffmpeg) and a real server (nginx) serves it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from support.rtmp import RtmpServer, missing_programs, nginx_rtmp, publisher
from support.video import write_clip
from support.watching import QUICK, Watch, make_stream, until, watching

from monitor.errors import StreamReason
from monitor.faces.decode import Decoder
from monitor.streams.stream import StreamState

pytestmark = pytest.mark.skipif(bool(missing_programs()), reason=missing_programs() or "all there")

LIVE = QUICK.model_copy(update={"read_timeout_s": 3.0, "stall_after_s": 3.0, "stall_grace_s": 10.0})
HLS = "hls on; hls_path WWW; hls_fragment 1s; hls_playlist_length 6s;"
KEY = bytes(range(16))
SHAPES = {
    "MPEG-TS": (),
    "fMP4": ("-hls_segment_type", "fmp4"),
    "byte ranges": ("-hls_flags", "single_file"),
    "byte ranges of fMP4": ("-hls_flags", "single_file", "-hls_segment_type", "fmp4"),
    "AES-128": ("-hls_key_info_file", "key_info"),
    "programme date and time": ("-hls_flags", "program_date_time+independent_segments"),
}


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "room.flv", seconds=20, fps=15, gop=15, sound=True)


@contextmanager
def packager(
    server: RtmpServer, *clips: Path, options: tuple[str, ...] = (), output: str = "index.m3u8"
) -> Iterator[subprocess.Popen[bytes]]:
    """ffmpeg cuts ``clips`` into live HLS, in real time and over and over, without encoding them again."""
    (server.www / "key").write_bytes(KEY)
    (server.www / "key_info").write_text("key\nkey\n")
    command = ["ffmpeg", "-v", "error"]
    for clip in clips:
        command += ["-re", "-stream_loop", "-1", "-i", str(clip)]
    command += ["-c", "copy", "-f", "hls", "-hls_time", "1", "-hls_list_size", "6", *options, output]
    process = subprocess.Popen(command, cwd=server.www, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def sampled_well(watch: Watch, least: int) -> None:
    """So many pictures, none missed between them, each of which a worker can decode."""
    await until(lambda: len(watch.frames["room"]) >= least)
    frames = watch.frames["room"]
    assert {frame.epoch for frame in frames} == {1}
    times = [frame.stream_time for frame in frames]
    assert all(later - earlier == pytest.approx(1.0, abs=0.1) for earlier, later in pairwise(times)), times
    assert all(next(Decoder().pictures(frame)) is not None for frame in frames)


async def test_what_nginx_rtmp_packs_is_sampled_and_its_publishers_end_is_a_frozen_playlist(
    tmp_path: Path, clip: Path
) -> None:
    with nginx_rtmp(tmp_path, HLS) as server, publisher(clip, server.url("room")) as process:
        async with watching(make_stream(server.http_url("room.m3u8")), config=LIVE) as watch:
            await watch.state(StreamState.LIVE)
            await sampled_well(watch, 4)
            # A publisher that is killed leaves the playlist as it is: nothing in it says that the room is over.
            os.kill(process.pid, signal.SIGKILL)
            await watch.state(StreamState.STALLED)
            status = await watch.state(StreamState.BACKING_OFF)
            assert status.reason is StreamReason.PLAYLIST_FROZEN


@pytest.mark.parametrize("shape", SHAPES)
async def test_what_ffmpeg_packs_is_sampled_second_by_second(tmp_path: Path, clip: Path, shape: str) -> None:
    with nginx_rtmp(tmp_path) as server, packager(server, clip, options=SHAPES[shape]):
        async with watching(make_stream(server.http_url("index.m3u8")), config=LIVE) as watch:
            await sampled_well(watch, 4)


async def test_of_ffmpegs_master_playlist_the_cheapest_rendition_that_is_tall_enough_is_read(
    tmp_path: Path, clip: Path
) -> None:
    small = write_clip(tmp_path / "small.flv", seconds=20, fps=15, gop=15, width=160, height=90)
    renditions = ("-map", "0:v", "-map", "1:v", "-var_stream_map", "v:0 v:1", "-b:v:0", "900k", "-b:v:1", "300k")
    names = ("-master_pl_name", "master.m3u8", "-hls_segment_filename", "%v-%d.ts")
    config = LIVE.model_copy(update={"rendition_lines": 120})
    with (
        nginx_rtmp(tmp_path) as server,
        packager(server, clip, small, options=(*renditions, *names), output="%v.m3u8"),
    ):
        async with watching(make_stream(server.http_url("master.m3u8")), config=config) as watch:
            await sampled_well(watch, 3)
            assert {frame.format.height for frame in watch.frames["room"]} == {180}
