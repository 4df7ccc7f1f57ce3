"""The plug-in point, and the polled picture as its second real implementation."""

from __future__ import annotations

import asyncio
import io
import itertools
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from PIL import Image
from support.hls import HttpServer
from support.video import picture
from support.waiting import wait_for
from support.watching import LOOPBACK, QUICK

from monitor.clock import SystemClock
from monitor.errors import AddressRefused, ConfigError, StreamError, StreamReason
from monitor.faces.decode import Decoder
from monitor.streams.config import NetworkConfig
from monitor.streams.guard import AddressGuard
from monitor.streams.http import GuardedHttp
from monitor.streams.kinds import GROUP, SourceKind, load_kinds, network_address
from monitor.streams.packet import EncodedFrame, Packet, VideoFormat
from monitor.streams.reach import Reach
from monitor.streams.snapshot import KIND, SnapshotSource, jpeg_size
from monitor.streams.sources import choose

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
FAST = QUICK.model_copy(update={"sample_interval": 0.1})


def jpeg(index: int, width: int = 320, height: int = 180, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(index, width, height)).save(file, "JPEG", **options)
    return file.getvalue()


def registered() -> list[EntryPoint]:
    """What pyproject.toml registers."""
    points = tomllib.loads(PYPROJECT.read_text())["project"]["entry-points"][GROUP]
    return [EntryPoint(name, value, GROUP) for name, value in points.items()]


class Sink:
    """Keeps what a source pushes."""

    def __init__(self) -> None:
        self.formats: list[VideoFormat] = []
        self.packets: list[Packet] = []
        self.received = 0

    def begin(self, video: VideoFormat) -> None:
        self.formats.append(video)

    def push(self, packets: Sequence[Packet], received_bytes: int) -> None:
        self.packets += packets
        self.received += received_bytes

    async def drained(self) -> None:
        return None


class Camera:
    """Serves a picture that changes ``per_picture`` requests at a time."""

    def __init__(self, server: HttpServer, per_picture: int = 1) -> None:
        self.asked = 0
        self.answers: dict[int, bytes] = {}
        self._per_picture = per_picture
        self.url = server.route("/room.jpg", self._answer)

    async def _answer(self, _: web.Request) -> web.Response:
        body = self.answers.get(self.asked, jpeg(self.asked // self._per_picture))
        self.asked += 1
        return web.Response(body=body)


async def read(url: str, sink: Sink, network: NetworkConfig = LOOPBACK) -> None:
    """Run the source that the registered plug-ins choose for ``url``."""
    guard = AddressGuard(network)
    with ThreadPoolExecutor(1) as demuxers:
        async with GuardedHttp(guard, open_timeout_s=1.0) as http:
            reach = Reach(guard=guard, http=http, demuxers=demuxers, config=FAST, clock=SystemClock())
            source = choose(url, reach, kinds=load_kinds(registered()))
            assert isinstance(source, SnapshotSource)
            await source.run(sink)


async def test_each_new_picture_is_a_keyframe_that_the_workers_can_decode(server: HttpServer) -> None:
    camera, sink = Camera(server, per_picture=3), Sink()
    reading = asyncio.create_task(read(f"snapshot+{camera.url}", sink))
    await wait_for(lambda: len(sink.packets) >= 3, timeout_s=30, what="three pictures")
    reading.cancel()
    assert camera.asked >= 7, "the same picture again is asked for, but is no new one"
    assert len(sink.packets) <= -(-camera.asked // 3)
    (video,) = sink.formats
    assert (video.codec, video.width, video.height) == ("mjpeg", 320, 180)
    times = [float(packet.pts * video.time_base) for packet in sink.packets]
    assert all(0.2 <= later - earlier <= 2 for earlier, later in itertools.pairwise(times))
    assert sink.received == sum(len(packet.data) for packet in sink.packets)
    packet = sink.packets[1]
    frame = EncodedFrame(stream_id="a", epoch=1, format=video, packets=(packet,), instants=(packet.pts,))
    (decoded,) = Decoder().pictures(frame)
    assert decoded is not None
    assert np.abs(decoded.pixels[:, :, ::-1].astype(int) - picture(1)).mean() < 12


async def test_a_picture_of_another_size_begins_anew(server: HttpServer) -> None:
    camera, sink = Camera(server), Sink()
    camera.answers[1] = jpeg(1, 640, 360)
    reading = asyncio.create_task(read(f"snapshot+{camera.url}", sink))
    await wait_for(lambda: len(sink.formats) >= 3, timeout_s=30, what="the size changes and changes back")
    reading.cancel()
    assert [video.width for video in sink.formats[:3]] == [320, 640, 320]


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"<html>", StreamReason.BAD_DATA), (jpeg(1)[:100], StreamReason.BAD_DATA), (b"", StreamReason.BAD_DATA)],
)
async def test_what_is_no_picture_ends_the_connection_with_its_reason(
    server: HttpServer, body: bytes, reason: StreamReason
) -> None:
    camera = Camera(server)
    camera.answers[1] = body
    with pytest.raises(StreamError) as failed:
        await read(f"snapshot+{camera.url}", Sink())
    assert (failed.value.reason, failed.value.retryable) == (reason, True)


async def test_a_picture_that_is_too_large_or_gone_is_refused(server: HttpServer) -> None:
    for answer, reason in (({"body": b"x" * 8_000_001}, "too_large"), ({"body": b"", "status": 404}, "not_found")):
        url = server.serve("/room.jpg", **answer)  # type: ignore[arg-type]
        with pytest.raises(StreamError) as failed:
            await read(f"snapshot+{url}", Sink())
        assert failed.value.reason == reason


async def test_a_polled_picture_goes_through_the_address_guard(server: HttpServer) -> None:
    camera = Camera(server)
    with pytest.raises(AddressRefused, match=r"network\.allow"):
        await read(f"snapshot+{camera.url}", Sink(), NetworkConfig())
    assert camera.asked == 0


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"exif": b"Exif\0\0" + b"\xff\xc0" * 300}])
def test_a_jpegs_header_says_its_size(options: dict[str, object]) -> None:
    assert jpeg_size(jpeg(1, 322, 182, **options)) == (322, 182)


def test_a_damaged_header_is_refused_and_never_loops() -> None:
    whole, random = jpeg(1), np.random.default_rng(1)
    for _ in range(3_000):
        data = bytearray(whole[: random.integers(0, 700)])
        for place in random.integers(0, max(1, len(data)), 5):
            if data:
                data[place % len(data)] = random.integers(0, 256)
        try:
            width, height = jpeg_size(bytes(data))
        except ValueError:
            continue
        assert 0 < width < 65_536
        assert 0 < height < 65_536


def test_the_guard_is_asked_about_the_address_behind_a_plug_ins_url() -> None:
    kinds = load_kinds(registered())
    assert network_address("snapshot+https://h/x.jpg", kinds) == "https://h/x.jpg"
    assert network_address("https://h/x.m3u8", kinds) == "https://h/x.m3u8"


def test_a_plug_in_that_cannot_be_used_stops_the_start_and_is_named() -> None:
    for value, says in (
        ("monitor.no_such:KIND", "cannot be loaded"),
        ("monitor.streams.snapshot:NOTHING", "cannot be loaded"),
        ("monitor.streams.snapshot:jpeg_size", "allowed: a monitor.streams.kinds.SourceKind"),
    ):
        with pytest.raises(ConfigError, match=says) as refused:
            load_kinds([EntryPoint("mine", value, GROUP)])
        assert "'mine'" in str(refused.value)


@pytest.mark.parametrize("scheme", ["https", "rtmp", "file", ""])
def test_a_plug_in_cannot_take_a_built_in_scheme(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    greedy = SourceKind(schemes=(scheme,), address=str, source=KIND.source)
    monkeypatch.setattr("monitor.streams.snapshot.KIND", greedy)
    with pytest.raises(ConfigError, match="is taken already"):
        load_kinds(registered())


def test_two_plug_ins_cannot_share_a_scheme() -> None:
    with pytest.raises(ConfigError, match="remove one of the two"):
        load_kinds([*registered(), *registered()])
