"""Every bad input gives one clear reason, and a healthy room beside it stays live."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from support.hls import HttpServer, LiveHls, dripping, playlist, silent, tcp_server
from support.video import clip_bytes, write_clip
from support.waiting import wait_for
from support.watching import IMPATIENT, LOOPBACK, QUICK, make_stream, until, watching

from monitor.errors import StreamError, StreamReason
from monitor.streams.config import NetworkConfig, StreamsConfig
from monitor.streams.sources import choose
from monitor.streams.stream import StreamState

NOISE = random.Random(7).randbytes(200_000)
FLV_HEAD = b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00"
HTTP_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nConnection: close\r\n\r\n"


@dataclass
class Bench:
    """Where a bad room is built."""

    server: HttpServer
    stack: AsyncExitStack
    folder: Path

    async def tcp(self, speak: Callable[..., Awaitable[None]]) -> int:
        return await self.stack.enter_async_context(tcp_server(speak))


@pytest.fixture
async def bench(server: HttpServer, tmp_path: Path) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        yield Bench(server, stack, tmp_path)


async def garbage_playlist(bench: Bench) -> str:
    return bench.server.serve("/bad/index.m3u8", NOISE)


async def noise_in_hls(bench: Bench) -> str:
    bench.server.serve("/bad/0.ts", NOISE)
    return bench.server.serve("/bad/index.m3u8", playlist(["0.ts"]))


async def noise_that_looks_like_ts(bench: Bench) -> str:
    bench.server.serve("/bad/0.ts", b"\x47" + NOISE)
    return bench.server.serve("/bad/index.m3u8", playlist(["0.ts"]))


async def empty_segment(bench: Bench) -> str:
    bench.server.serve("/bad/0.ts", b"")
    return bench.server.serve("/bad/index.m3u8", playlist(["0.ts"]))


async def noise_over_http(bench: Bench) -> str:
    return bench.server.serve("/bad/room.flv", NOISE)


async def nothing_over_http(bench: Bench) -> str:
    return bench.server.serve("/bad/room.flv", b"")


async def sound_over_http(bench: Bench) -> str:
    return bench.server.serve("/bad/room.flv", clip_bytes(seconds=3, container="flv", sound=True, picture_too=False))


async def a_cut_flv_over_http(bench: Bench) -> str:
    whole = clip_bytes(seconds=3, container="flv")
    return bench.server.serve("/bad/room.flv", whole[:40])


async def silent_http(bench: Bench) -> str:
    return f"http://127.0.0.1:{await bench.tcp(silent)}/room.flv"


async def silent_playlist(bench: Bench) -> str:
    return f"http://127.0.0.1:{await bench.tcp(silent)}/index.m3u8"


async def silent_rtmp(bench: Bench) -> str:
    return f"rtmp://127.0.0.1:{await bench.tcp(silent)}/live/room"


async def dripping_rtmp(bench: Bench) -> str:
    port = await bench.tcp(dripping(b"", bytes([3]) * 60))
    return f"rtmp://127.0.0.1:{port}/live/room"


async def dripping_flv(bench: Bench) -> str:
    return f"http://127.0.0.1:{await bench.tcp(dripping(HTTP_HEAD, FLV_HEAD + NOISE[:60]))}/room.flv"


async def an_flv_that_begins_to_drip(bench: Bench) -> str:
    whole = clip_bytes(seconds=3, container="flv", gop=5, live=True)
    return f"http://127.0.0.1:{await bench.tcp(dripping(HTTP_HEAD + whole[:-5_000], whole[-5_000:]))}/room.flv"


async def dripping_playlist(bench: Bench) -> str:
    return f"http://127.0.0.1:{await bench.tcp(dripping(HTTP_HEAD, b'#EXTM3U' * 20))}/index.m3u8"


async def dripping_segment(bench: Bench) -> str:
    port = await bench.tcp(dripping(HTTP_HEAD, NOISE))
    return bench.server.serve("/bad/index.m3u8", playlist([f"http://127.0.0.1:{port}/0.ts"]))


async def nobody_listens(bench: Bench) -> str:
    return "http://127.0.0.1:9/room.flv"


async def nobody_listens_to_rtmp(bench: Bench) -> str:
    return "rtmp://127.0.0.1:9/live/room"


async def empty_file(bench: Bench) -> str:
    (bench.folder / "empty.mp4").touch()
    return str(bench.folder / "empty.mp4")


async def truncated_file(bench: Bench) -> str:
    path = bench.folder / "cut.mp4"
    path.write_bytes(clip_bytes(seconds=2)[:2_000])
    return str(path)


async def noise_file(bench: Bench) -> str:
    (bench.folder / "noise.mp4").write_bytes(NOISE)
    return str(bench.folder / "noise.mp4")


async def sound_file(bench: Bench) -> str:
    return str(write_clip(bench.folder / "sound.mp4", seconds=1, sound=True, picture_too=False))


async def missing_file(bench: Bench) -> str:
    return str(bench.folder / "none.mp4")


async def a_playlist_named_like_a_video(bench: Bench) -> str:
    path = bench.folder / "list.mp4"
    path.write_text(playlist([bench.server.url("/inner.ts")], ended=True))
    return str(path)


async def a_concat_list_named_like_a_video(bench: Bench) -> str:
    path = bench.folder / "list.mp4"
    path.write_text("ffconcat version 1.0\nfile /etc/hostname\n")
    return str(path)


CASES: list[tuple[Callable[[Bench], Awaitable[str]], StreamState, StreamReason]] = [
    (garbage_playlist, StreamState.BACKING_OFF, StreamReason.BAD_PLAYLIST),
    (noise_in_hls, StreamState.BACKING_OFF, StreamReason.BAD_DATA),
    (noise_that_looks_like_ts, StreamState.BACKING_OFF, StreamReason.BAD_DATA),
    (empty_segment, StreamState.BACKING_OFF, StreamReason.BAD_DATA),
    (noise_over_http, StreamState.BACKING_OFF, StreamReason.BAD_DATA),
    (nothing_over_http, StreamState.BACKING_OFF, StreamReason.BAD_DATA),
    (sound_over_http, StreamState.BACKING_OFF, StreamReason.NO_VIDEO),
    (a_cut_flv_over_http, StreamState.BACKING_OFF, StreamReason.BAD_DATA),
    (silent_http, StreamState.BACKING_OFF, StreamReason.OPEN_TIMEOUT),
    (silent_playlist, StreamState.BACKING_OFF, StreamReason.OPEN_TIMEOUT),
    (silent_rtmp, StreamState.BACKING_OFF, StreamReason.OPEN_TIMEOUT),
    (dripping_rtmp, StreamState.BACKING_OFF, StreamReason.OPEN_TIMEOUT),
    (dripping_flv, StreamState.BACKING_OFF, StreamReason.OPEN_TIMEOUT),
    (an_flv_that_begins_to_drip, StreamState.BACKING_OFF, StreamReason.READ_TIMEOUT),
    (dripping_playlist, StreamState.BACKING_OFF, StreamReason.READ_TIMEOUT),
    (dripping_segment, StreamState.BACKING_OFF, StreamReason.READ_TIMEOUT),
    (nobody_listens, StreamState.BACKING_OFF, StreamReason.REFUSED),
    (nobody_listens_to_rtmp, StreamState.BACKING_OFF, StreamReason.REFUSED),
    (empty_file, StreamState.ENDED, StreamReason.EMPTY_FILE),
    (truncated_file, StreamState.ENDED, StreamReason.BAD_DATA),
    (noise_file, StreamState.ENDED, StreamReason.BAD_DATA),
    (sound_file, StreamState.ENDED, StreamReason.NO_VIDEO),
    (missing_file, StreamState.ENDED, StreamReason.FILE_MISSING),
    (a_playlist_named_like_a_video, StreamState.ENDED, StreamReason.BAD_DATA),
    (a_concat_list_named_like_a_video, StreamState.ENDED, StreamReason.BAD_DATA),
]
TIMEOUTS = {StreamReason.OPEN_TIMEOUT, StreamReason.READ_TIMEOUT}


@pytest.mark.parametrize(("build", "state", "reason"), CASES, ids=[case[0].__name__ for case in CASES])
async def test_a_bad_room_is_named_and_the_healthy_one_beside_it_stays_live(
    bench: Bench,
    segments: list[bytes],
    build: Callable[[Bench], Awaitable[str]],
    state: StreamState,
    reason: StreamReason,
) -> None:
    healthy = LiveHls(bench.server, segments, name="healthy")
    network = NetworkConfig(allow=LOOPBACK.allow, allow_files=(bench.folder,))
    rooms = make_stream(await build(bench), "bad"), make_stream(healthy.url, "healthy")
    config = IMPATIENT if reason in TIMEOUTS else QUICK
    async with watching(*rooms, network=network, config=config) as watch:
        status = await watch.state(state, "bad")
        assert status.reason is reason, status
        await watch.state(StreamState.LIVE, "healthy")
        seen = len(watch.frames["healthy"])
        await until(lambda: len(watch.frames["healthy"]) > seen)
        assert watch.status("healthy").connects == 1
        assert "127.0.0.1" not in status.detail


async def test_a_room_that_sends_pictures_but_never_a_keyframe_is_named(server: HttpServer) -> None:
    whole = clip_bytes(seconds=2, container="flv", gop=1000, live=True)
    without = bytearray(whole)
    # FLV: tag type 9, then 11 bytes of head; the first nibble of the body says keyframe (1) or not (2).
    at, count = 13, 0
    while at < len(without):
        size = int.from_bytes(without[at + 1 : at + 4])
        if without[at] == 9 and without[at + 12] == 1:
            without[at + 11] = 0x27
            count += 1
        at += size + 15
    assert count > 10

    async def serve_and_hold(request: object) -> object:
        response = web.StreamResponse()
        await response.prepare(request)  # type: ignore[arg-type]
        await response.write(bytes(without))
        await asyncio.Event().wait()
        return response

    url = server.route("/room.flv", serve_and_hold)  # type: ignore[arg-type]
    config = QUICK.model_copy(update={"read_timeout_s": 30.0})
    async with watching(make_stream(url), config=config) as watch:
        status = await watch.state(StreamState.BACKING_OFF)
        assert status.reason is StreamReason.NO_KEYFRAME


async def test_a_live_room_that_claims_to_be_a_recording_is_read_again_when_it_returns(server: HttpServer) -> None:
    whole = clip_bytes(seconds=3, container="flv")

    async def serve_whole(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()  # no length, no date, no tag: as a live room is served
        await response.prepare(request)
        await response.write(whole)
        return response

    config = StreamsConfig(ended_probe_s=0.2, backoff_initial_s=0.05)
    async with watching(make_stream(server.route("/again.flv", serve_whole)), config=config) as watch:
        await wait_for(lambda: watch.status().frames_sampled >= 4, timeout_s=20, what="it is sampled again and again")


def test_what_is_no_address_at_all_is_refused_by_name() -> None:
    with pytest.raises(StreamError) as refused:
        choose("http://[bad/hidden.m3u8", None)  # type: ignore[arg-type]
    assert refused.value.reason is StreamReason.UNSUPPORTED
    assert "hidden" not in str(refused.value)
