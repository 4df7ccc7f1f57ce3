"""Every way in which a room can stop showing anything new is noticed in time, for every kind of stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from support.hls import HttpServer, playlist
from support.stalls import machine_stalls
from support.video import clip_bytes, ts_segments
from support.watching import QUICK, make_stream, until, watching

from monitor.demo.clip import Clip, load_clip
from monitor.demo.live_rtmp import LiveRtmp, media_chunks
from monitor.demo.push_rooms import PushRoom
from monitor.errors import StreamError, StreamReason
from monitor.streams.config import StreamsConfig
from monitor.streams.feed import Arrivals
from monitor.streams.lifecycle import Health, health
from monitor.streams.stream import StreamState

# The sources' own deadlines are put off, and the grace is long: what is seen here is the stall detection alone. Its
# patience is more than a machine that stands still for a moment uses up.
CONFIG = QUICK.model_copy(
    update={"read_timeout_s": 30.0, "segment_timeout_s": 30.0, "stall_after_s": 2.0, "stall_grace_s": 30.0}
)
SEGMENT_S = 1.0
BOUND_S = max(CONFIG.stall_after_s, 3 * SEGMENT_S)
SOUND, PICTURE = 8, 9


@dataclass
class Room:
    """A room in which trouble begins at a command."""

    trouble: str
    begun: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True)
class Tag:
    kind: int
    time_ms: int
    body: bytes
    key: bool


def flv_tags(data: bytes) -> list[Tag]:
    """The tags of an FLV file, its head left out."""
    tags, at = [], 13
    while at + 11 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 4])
        stamp = int.from_bytes(data[at + 4 : at + 7]) | data[at + 7] << 24
        body = data[at + 11 : at + 11 + size]
        tags.append(Tag(data[at], stamp, body, key=data[at] == PICTURE and body[0] >> 4 == 1 and body[1] == 1))
        at += size + 15
    return tags


async def pushed(room: Room, tags: list[Tag]) -> AsyncIterator[Tag]:
    """The tags when each is due, until trouble begins; then what is left of them."""
    start = time.monotonic()
    stuck_at: int | None = None
    keys = since_key = 0
    for tag in tags:
        await asyncio.sleep(max(0.0, start + tag.time_ms / 1000 - time.monotonic()))
        if not room.begun.is_set():
            yield tag
            continue
        if room.trouble == "silent":
            await asyncio.Event().wait()
        if tag.kind == SOUND and room.trouble == "sound goes on":
            yield tag
        if tag.kind != PICTURE or room.trouble == "sound goes on":
            continue
        stuck_at = tag.time_ms if stuck_at is None else stuck_at
        keys, since_key = (keys + 1, 0) if tag.key else (keys, since_key + 100)
        back_ms = 400 * keys - since_key if room.trouble == "time goes back" else 0
        yield Tag(tag.kind, max(0, stuck_at - back_ms), tag.body, tag.key)


def flv_bytes(tag: Tag) -> bytes:
    head = bytes([tag.kind]) + len(tag.body).to_bytes(3) + (tag.time_ms & 0xFFFFFF).to_bytes(3)
    head += bytes([tag.time_ms >> 24]) + bytes(3)
    return head + tag.body + (len(tag.body) + 11).to_bytes(4)


@dataclass
class Studio:
    """Where rooms are built."""

    server: HttpServer
    stack: AsyncExitStack
    clip: Clip
    flv: bytes

    async def http_flv(self, room: Room) -> str:
        async def serve(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "video/x-flv"})
            await response.prepare(request)
            await response.write(self.flv[:13])
            await self._send(room, flv_bytes, response.write)
            return response

        return self.server.route(f"/{room.trouble.replace(' ', '-')}.flv", serve)

    async def rtmp(self, room: Room) -> str:
        async def play(_: PushRoom, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            async def write(data: bytes) -> None:
                writer.write(data)
                await writer.drain()

            await self._send(room, lambda tag: media_chunks(tag.kind, tag.body, tag.time_ms), write)

        rooms = await self.stack.enter_async_context(LiveRtmp(play=play))
        return await rooms.add("room", self.clip)

    async def _send(
        self, room: Room, encode: Callable[[Tag], bytes], write: Callable[[bytes], Awaitable[None]]
    ) -> None:
        async for tag in pushed(room, flv_tags(self.flv)):
            data = encode(tag)
            if room.trouble == "drips" and room.begun.is_set():
                for byte in data:
                    await write(bytes([byte]))
                    await asyncio.sleep(0.1)
            await write(data)

    async def hls(self, room: Room) -> str:
        segments = ts_segments(seconds=30, gop=5, segment_s=SEGMENT_S)
        start = time.monotonic()
        frozen: list[int] = []

        def edge() -> int:
            now = int((time.monotonic() - start) / SEGMENT_S)
            if room.begun.is_set() and not frozen:
                frozen.append(now)
            return frozen[0] if frozen and room.trouble == "playlist stands still" else min(now, 29)

        async def index(_: web.Request) -> web.Response:
            first = max(0, edge() - 2)
            names = [f"{number}.ts" for number in range(first, edge() + 1)]
            return web.Response(text=playlist(names, segment_s=SEGMENT_S, first=first))

        async def segment(request: web.Request) -> web.StreamResponse:
            number = int(request.path.rpartition("/")[2].removesuffix(".ts"))
            if not frozen or number <= frozen[0] or room.trouble == "playlist stands still":
                return web.Response(body=segments[number])
            if room.trouble in ("time stands still", "time goes back"):
                return web.Response(body=segments[frozen[0] if room.trouble == "time stands still" else 0])
            if room.trouble == "sound goes on":
                body = clip_bytes(seconds=SEGMENT_S, container="mpegts", sound=True, picture_too=False)
                return web.Response(body=body)
            response = web.StreamResponse()
            await response.prepare(request)
            while room.trouble == "drips":
                await response.write(b"G")
                await asyncio.sleep(0.2)
            await asyncio.Event().wait()
            return response

        folder = f"/{room.trouble.replace(' ', '-')}"
        for number in range(30):
            self.server.route(f"{folder}/{number}.ts", segment)
        return self.server.route(f"{folder}/index.m3u8", index)


@pytest.fixture(scope="module")
def flv() -> bytes:
    return clip_bytes(seconds=30, gop=5, container="flv", live=True, sound=True)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    path = tmp_path_factory.mktemp("stall") / "clip.mp4"
    path.write_bytes(clip_bytes(seconds=2, gop=5))
    return load_clip(path)


@pytest.fixture
async def studio(server: HttpServer, clip: Clip, flv: bytes) -> AsyncIterator[Studio]:
    async with AsyncExitStack() as stack:
        yield Studio(server, stack, clip, flv)


STUCK = {StreamReason.TIME_STUCK}
STILL = {StreamReason.NO_KEYFRAME}
PUSHED = {
    "silent": STILL,
    "drips": STILL,
    "sound goes on": STILL,
    "time stands still": STUCK,
    "time goes back": STUCK,
}
SEGMENTED = {
    "silent": STILL,
    "drips": STILL,
    "playlist stands still": STILL | {StreamReason.PLAYLIST_FROZEN},
    "sound goes on": STILL | {StreamReason.NO_VIDEO},
    "time stands still": STUCK,
}


@pytest.mark.parametrize(("kind", "troubles"), [("http_flv", PUSHED), ("rtmp", PUSHED), ("hls", SEGMENTED)])
async def test_a_room_in_any_trouble_stops_being_live_in_time_and_says_why(
    studio: Studio, kind: str, troubles: dict[str, set[StreamReason]]
) -> None:
    rooms = {trouble: Room(trouble) for trouble in troubles}
    streams = [make_stream(await getattr(studio, kind)(room), trouble) for trouble, room in rooms.items()]
    async with machine_stalls() as stalls, watching(*streams, config=CONFIG) as watch:

        async def endure(room: Room) -> tuple[float, StreamReason]:
            await watch.state(StreamState.LIVE, room.trouble)
            await until(lambda: watch.status(room.trouble).frames_sampled >= 2)
            room.begun.set()
            begun = time.monotonic()
            await until(lambda: watch.status(room.trouble).state is not StreamState.LIVE)
            return time.monotonic() - begun, watch.status(room.trouble).reason

        seen = dict(zip(rooms, await asyncio.gather(*map(endure, rooms.values())), strict=True))
    for trouble, (noticed_s, reason) in seen.items():
        # A supervisor's tick, and for HLS the segment that was on its way when the trouble began.
        allowed_s = BOUND_S + 0.5 + (SEGMENT_S if kind == "hls" else 0.0) + sum(stalls)
        assert noticed_s <= allowed_s, (trouble, noticed_s, stalls)
        assert reason in troubles[trouble], (trouble, reason)


async def test_a_room_whose_timeline_begins_anew_stays_live_in_a_new_epoch(studio: Studio) -> None:
    room = Room("time goes back")
    async with watching(make_stream(await studio.hls(room)), config=CONFIG) as watch:
        await until(lambda: watch.status().frames_sampled >= 3 if watch.feed() else False)
        epoch = watch.feed().ring.epoch
        room.begun.set()
        await until(lambda: watch.feed().ring.epoch > epoch)
        assert watch.status().state is StreamState.LIVE


@pytest.mark.parametrize(
    ("arrivals", "cadence_s", "last_well_s"),
    [
        pytest.param(
            {"keyframe_at": 100.0, "delta_at": 101.9, "longest_gop_s": 2.0}, 0.0, 106.0, id="2 s GOP, silence"
        ),
        pytest.param(
            {"keyframe_at": 100.0, "delta_at": 109.0, "longest_gop_s": 10.0}, 0.0, 114.0, id="10 s GOP, silence"
        ),
        pytest.param({"keyframe_at": 100.0, "longest_gop_s": 2.0}, 0.0, 106.0, id="keyframes only"),
        pytest.param({"keyframe_at": 100.0, "delta_at": 100.0, "longest_gop_s": 2.0}, 6.0, 118.0, id="HLS of 6 s"),
        pytest.param({"keyframe_at": 100.0, "delta_at": 100.0, "longest_gop_s": 1.0}, 1.0, 105.0, id="HLS of 1 s"),
    ],
)
def test_with_the_defaults_silence_is_a_stall_after_five_seconds_or_three_segments(
    arrivals: dict[str, float], cadence_s: float, last_well_s: float
) -> None:
    seen = Arrivals(connected_at=90.0, begun_at=91.0, first_keyframe_at=92.0, **arrivals)

    def at(now: float) -> Health:
        return health(seen, StreamsConfig(), cadence_s=cadence_s, now=now)

    assert at(last_well_s - 0.01) is Health.WELL
    assert at(last_well_s + 0.01) is Health.STALLED


def test_a_stall_that_lasts_ends_the_connection_and_says_which_it_was() -> None:
    seen = Arrivals(connected_at=0.0, begun_at=0.0, first_keyframe_at=0.0, keyframe_at=10.0, stuck_at=40.0)
    assert health(seen, StreamsConfig(), cadence_s=0.0, now=20.0) is Health.STUCK
    with pytest.raises(StreamError) as given_up:
        health(seen, StreamsConfig(), cadence_s=0.0, now=40.0)
    assert given_up.value.reason is StreamReason.TIME_STUCK


async def test_an_end_is_looked_at_once_more_before_it_is_believed(
    server: HttpServer, segments: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for index in range(3):
        server.serve(f"/v/{index}.ts", segments[index])
    asked = 0

    async def hesitating(_: web.Request) -> web.Response:
        # It says that it is over, but goes on when it is asked again.
        nonlocal asked
        asked += 1
        names = ["0.ts"] if asked == 1 else ["0.ts", "1.ts", "2.ts"]
        return web.Response(text=playlist(names, ended=True))

    config = QUICK.model_copy(update={"ended_probe_s": 60.0})
    async with watching(make_stream(server.route("/v/index.m3u8", hesitating)), config=config) as watch:
        await watch.state(StreamState.ENDED)
        assert server.requests["/v/2.ts"] == 1
        assert watch.status().connects == 3
        assert watch.status().reason is StreamReason.END_OF_STREAM
    assert "state=backing_off" in caplog.text
