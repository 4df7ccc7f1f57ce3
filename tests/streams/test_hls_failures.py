"""HLS servers that fail now and then: the connection and its epoch outlive it. And what else playlists hold."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from aiohttp import web
from support.hls import HttpServer, playlist
from support.measured_hls import MeasuredRoom
from support.video import fmp4_segments, ts_segments
from support.watching import QUICK, make_stream, until, watching

from monitor.errors import StreamError, StreamReason
from monitor.streams.recovery import Remedy, Trouble, remedy
from monitor.streams.stream import StreamState


async def test_a_failed_poll_and_a_failed_segment_cost_neither_the_connection_nor_the_epoch(
    server: HttpServer, segments: list[bytes]
) -> None:
    failed: list[str] = []

    def fails(name: str) -> int | None:
        once = name in ("5.ts", "index.m3u8") and failed.count(name) < 1 and room.edge >= 5
        if once:
            failed.append(name)
        return 503 if once else None

    room = MeasuredRoom(server, segments, segment_s=1.0, fails=fails)
    async with watching(make_stream(room.url)) as watch:
        await until(lambda: len(failed) == 2)
        await until(lambda: any(name == "7.ts" for name, _ in room.asked))
        await until(lambda: watch.feed().ring.newest_time is not None and watch.frames["room"][-1].stream_time > 6)
        assert watch.status().connects == 1
        assert {frame.epoch for frame in watch.frames["room"]} == {1}
        assert [name for name, _ in room.asked].count("5.ts") == 2
        assert watch.metric("monitor_stream_retries_total", reason="http_error") == 2


async def test_a_segment_that_is_lost_is_left_out_after_two_tries(server: HttpServer, segments: list[bytes]) -> None:
    room = MeasuredRoom(server, segments, segment_s=1.0, fails=lambda name: 500 if name == "3.ts" else None)
    async with watching(make_stream(room.url)) as watch:
        await until(lambda: "5.ts" in room.sent)
        assert watch.status().connects == 1
        assert [name for name, _ in room.asked].count("3.ts") == 2


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_addresses_that_expire_are_resolved_again_from_the_master(
    server: HttpServer, segments: list[bytes], status: int
) -> None:
    rooms = [MeasuredRoom(server, segments, segment_s=1.0, name=name) for name in ("old", "new")]
    expired = [False]
    rooms[0].fails = lambda name: status if expired[0] else None

    async def master(_: web.Request) -> web.Response:
        name = "new" if expired[0] else "old"
        return web.Response(text=f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=854x480\n{name}/index.m3u8\n")

    async with watching(make_stream(server.route("/master.m3u8", master))) as watch:
        await watch.state(StreamState.LIVE)
        expired[0] = True
        await until(lambda: len(rooms[1].sent) >= 2)
        assert server.requests["/master.m3u8"] == 2
        assert watch.status().connects == 1
        assert watch.feed().ring.epoch == 1


async def test_a_room_that_is_gone_is_looked_for_once_more_and_then_given_up(
    server: HttpServer, segments: list[bytes]
) -> None:
    gone = [False]
    room = MeasuredRoom(server, segments, segment_s=1.0, fails=lambda name: 404 if gone[0] else None)
    config = QUICK.model_copy(update={"backoff_initial_s": 30.0, "backoff_max_s": 30.0})
    async with watching(make_stream(room.url), config=config) as watch:
        await watch.state(StreamState.LIVE)
        gone[0] = True
        assert (await watch.state(StreamState.BACKING_OFF)).reason is StreamReason.NOT_FOUND


TROUBLE_AT = 100.0


@pytest.mark.parametrize(
    ("reason", "segment", "well", "after_s", "choices"),
    [
        (StreamReason.HTTP_ERROR, None, True, 1, [Remedy.RETRY, Remedy.RETRY]),
        (StreamReason.HTTP_ERROR, None, True, 5.1, [Remedy.GIVE_UP]),
        (StreamReason.HTTP_ERROR, None, False, 1, [Remedy.GIVE_UP]),
        (StreamReason.READ_TIMEOUT, 7, True, 1, [Remedy.RETRY, Remedy.SKIP_SEGMENT]),
        (StreamReason.FORBIDDEN, None, True, 1, [Remedy.RESOLVE, Remedy.GIVE_UP]),
        (StreamReason.NOT_FOUND, 7, True, 1, [Remedy.RESOLVE, Remedy.SKIP_SEGMENT]),
        (StreamReason.TOO_LARGE, 7, True, 1, [Remedy.GIVE_UP]),
    ],
)
def test_what_is_done_about_a_failure(
    reason: StreamReason, segment: int | None, well: bool, after_s: float, choices: list[Remedy]
) -> None:
    trouble = Trouble(since=TROUBLE_AT, well=well)
    now = TROUBLE_AT + after_s
    error = StreamError(reason)
    given = [remedy(error, trouble, segment=segment, target_s=1.0, recorded=False, now=now) for _ in choices]
    assert given == choices


def test_of_a_recording_no_segment_is_left_out() -> None:
    trouble = Trouble(since=TROUBLE_AT, well=True)
    error = StreamError(StreamReason.HTTP_ERROR)
    given = [remedy(error, trouble, segment=1, target_s=1.0, recorded=True, now=TROUBLE_AT + after) for after in (1, 2)]
    assert given == [Remedy.RETRY, Remedy.GIVE_UP]


def encrypted(data: bytes, key: bytes, iv: bytes) -> bytes:
    ciphers = pytest.importorskip("cryptography.hazmat.primitives.ciphers")
    padding = 16 - len(data) % 16
    encryptor = ciphers.Cipher(ciphers.algorithms.AES(key), ciphers.modes.CBC(iv)).encryptor()
    return bytes(encryptor.update(data + bytes([padding]) * padding) + encryptor.finalize())


KEY = bytes(range(16))


@pytest.mark.parametrize("iv", [None, bytes(range(100, 116))])
async def test_segments_encrypted_with_aes_128_are_read_and_the_key_is_fetched_once(
    server: HttpServer, iv: bytes | None
) -> None:
    parts = ts_segments(seconds=3)
    for index, data in enumerate(parts):
        server.serve(f"/e/{index}.ts", encrypted(data, KEY, iv or (7 + index).to_bytes(16)))
    server.serve("/e/key", KEY)
    tag = '#EXT-X-KEY:METHOD=AES-128,URI="key"' + (f",IV=0x{iv.hex()}" if iv else "")
    text = playlist([f"{index}.ts" for index in range(3)], first=7, ended=True)
    server.serve("/e/index.m3u8", text.replace("#EXTINF", f"{tag}\n#EXTINF", 1))
    async with watching(make_stream(server.url("/e/index.m3u8"))) as watch:
        await watch.state(StreamState.ENDED)
        assert len(watch.frames["room"]) == 3
        assert server.requests["/e/key"] == 1


async def test_the_keyframe_of_an_encrypted_segment_is_had_without_the_rest(server: HttpServer) -> None:
    parts = ts_segments(seconds=20, segment_s=2, fps=10, width=640, height=360, noise=10)
    room = MeasuredRoom(
        server,
        [encrypted(data, KEY, index.to_bytes(16)) for index, data in enumerate(parts)],
        prefix='#EXT-X-KEY:METHOD=AES-128,URI="key"\n',
        speed=5,
        window=10,
    )
    server.serve("/room/key", KEY)
    config = QUICK.model_copy(update={"sample_interval": 5.0})
    async with watching(make_stream(room.url), config=config) as watch:
        await until(lambda: len(watch.frames["room"]) >= 3)
        assert room.bytes_sent < sum(map(len, parts[:10])) / 4


async def test_a_wrong_key_is_named_bad_data(server: HttpServer) -> None:
    server.serve("/e/0.ts", encrypted(ts_segments(seconds=1)[0], KEY, (0).to_bytes(16)))
    server.serve("/e/key", bytes(16))
    text = playlist(["0.ts"]).replace("#EXTINF", '#EXT-X-KEY:METHOD=AES-128,URI="key"\n#EXTINF')
    server.serve("/e/index.m3u8", text)
    async with watching(make_stream(server.url("/e/index.m3u8"))) as watch:
        assert (await watch.state(StreamState.BACKING_OFF)).reason is StreamReason.BAD_DATA


async def test_parts_of_a_low_latency_playlist_are_left_alone(server: HttpServer, segments: list[bytes]) -> None:
    lines = playlist(["0.ts", "1.ts"]).replace("#EXT-X-MEDIA", "#EXT-X-PART-INF:PART-TARGET=0.3\n#EXT-X-MEDIA")
    lines = lines.replace("#EXTINF", '#EXT-X-PART:DURATION=0.3,URI="part.ts"\n#EXTINF')
    lines += '#EXT-X-PART:DURATION=0.3,URI="part.ts"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI="next.ts"\n'
    server.serve("/l/index.m3u8", lines)
    for index in range(2):
        server.serve(f"/l/{index}.ts", segments[index])
    async with watching(make_stream(server.url("/l/index.m3u8"))) as watch:
        await watch.state(StreamState.LIVE)
        assert not {"/l/part.ts", "/l/next.ts"} & set(server.requests)


async def test_a_segment_that_the_server_says_it_lost_is_not_asked_for(
    server: HttpServer, segments: list[bytes]
) -> None:
    text = playlist(["0.ts", "1.ts"]).replace("#EXTINF:1.000,\n0.ts", "#EXTINF:1.000,\n0.ts\n#EXT-X-GAP")
    server.serve("/g/index.m3u8", text)
    server.serve("/g/0.ts", segments[0])
    async with watching(make_stream(server.url("/g/index.m3u8"))) as watch:
        await watch.state(StreamState.LIVE)
        assert "/g/1.ts" not in server.requests


async def test_a_clock_that_jumps_within_a_live_room_begins_a_new_epoch_and_goes_on(server: HttpServer) -> None:
    ahead = ts_segments(seconds=40)[30:]
    room = MeasuredRoom(server, [*ts_segments(seconds=3), *ahead], segment_s=1.0)
    async with watching(make_stream(room.url)) as watch:
        await until(lambda: bool(watch.frames["room"]) and watch.frames["room"][-1].stream_time > 31)
        assert watch.frames["room"][-1].epoch == 2
        assert watch.status().connects == 1
        assert all(b.received_at >= a.received_at for a, b in pairwise(watch.frames["room"]))


async def test_of_fragmented_mp4_too_the_keyframe_is_had_without_the_rest(server: HttpServer) -> None:
    init, parts = fmp4_segments(seconds=20, segment_s=2.0, width=640, height=360, noise=10)
    server.serve("/m/init.mp4", init)
    started, sent = time.monotonic(), []

    def segment(data: bytes) -> object:
        async def answer(request: web.Request) -> web.Response:
            body = data[request.http_range]
            sent.append(len(body))
            return web.Response(body=body, status=206)

        return answer

    for index, data in enumerate(parts):
        server.route(f"/m/{index}.m4s", segment(data))

    async def index(_: web.Request) -> web.Response:
        edge = min(len(parts) - 1, 1 + int((time.monotonic() - started) * 2.5))
        names = [f"{number}.m4s" for number in range(edge + 1)]
        return web.Response(text=playlist(names, segment_s=2, init="init.mp4"))

    config = QUICK.model_copy(update={"sample_interval": 5.0})
    async with watching(make_stream(server.route("/m/index.m3u8", index)), config=config) as watch:
        await until(lambda: len(watch.frames["room"]) >= 3)
        assert sum(sent) < sum(map(len, parts[:8])) / 4
        assert {frame.epoch for frame in watch.frames["room"]} == {1}
