"""A thousand rooms of one server that drop at the same instant come back in time, and the server is not run over."""

from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import pytest
from support.hls import HttpServer
from support.packets import FORMAT, packet
from support.rtmp import free_port
from support.watching import LOOPBACK, make_stream, until, watching

from monitor.errors import StreamError, StreamReason
from monitor.streams.config import StreamsConfig
from monitor.streams.feed import StreamFeed
from monitor.streams.packet import PacketSink
from monitor.streams.reach import Reach
from monitor.streams.stream import StreamState

ROOMS = 1_000
DOWN_S = 8.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nConnection: close\r\n\r\n"


class CountingServer:
    """Accepts, counts when, answers a GET with one byte a second; can drop everybody at once and come back."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.accepted: list[float] = []
        self.opening = self.most_opening = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", self.port, backlog=4096)

    async def drop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted.append(time.monotonic())
        self._open.add(writer)
        self.opening += 1
        self.most_opening = max(self.most_opening, self.opening)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            try:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(HEAD)
                self.opening -= 1
                while not writer.is_closing():
                    writer.write(b"k")
                    await writer.drain()
                    await asyncio.sleep(1.0)
            finally:
                self._open.discard(writer)
                writer.close()


class ByteRoom:
    """The real connection of an HTTP-FLV room; each byte stands for a keyframe, so that nothing is demuxed."""

    cadence_s = 0.0

    def __init__(self, url: str, reach: Reach) -> None:
        self._url = url
        self._reach = reach

    async def run(self, sink: PacketSink) -> None:
        async with self._reach.http.open(self._url) as response:
            sink.begin(FORMAT)
            content = self._reach.http.metered(response.content)
            shown = 0
            while data := await content.read(1):
                sink.push([packet(shown * 1_000, key=True)], len(data))
                shown += 1
        raise StreamError(StreamReason.CLOSED_BY_PEER)


async def ignore(feed: StreamFeed) -> None:
    while True:
        await feed.next_frame()


@pytest.fixture
def many_files() -> Iterator[None]:
    """Both ends of every connection are in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 4 * ROOMS
    if hard < needed:
        pytest.skip(f"this process may open {hard} files, {needed} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def busiest_second(moments: list[float]) -> int:
    return max(sum(start <= moment < start + 1 for moment in moments) for start in moments)


async def test_a_thousand_rooms_are_back_within_fifteen_seconds_without_a_stampede(
    monkeypatch: pytest.MonkeyPatch, many_files: None
) -> None:
    monkeypatch.setattr("monitor.streams.keeper.choose", ByteRoom)
    server = CountingServer(free_port())
    rooms = [make_stream(f"http://127.0.0.1:{server.port}/{n}.flv", f"r{n}") for n in range(ROOMS)]
    config = StreamsConfig()
    await server.start()
    async with watching(*rooms, config=config, network=LOOPBACK, consume=ignore) as watch:
        states = watch.supervisor.states

        def live() -> int:
            return Counter(states().values())[StreamState.LIVE]

        await until(lambda: live() == ROOMS, within_s=30)
        await server.drop()
        await until(lambda: live() == 0)
        await asyncio.sleep(DOWN_S)  # The outage itself: long enough for the waits to have grown.
        server.accepted.clear()
        server.most_opening = 0
        back = time.monotonic()
        await server.start()
        lived: dict[str, float] = {}
        while len(lived) < ROOMS and time.monotonic() - back < 40:
            for stream_id, state in states().items():
                if state is StreamState.LIVE:
                    lived.setdefault(stream_id, time.monotonic() - back)
            await asyncio.sleep(0.05)
        await server.drop()
    seconds = sorted(lived.values())
    p95 = seconds[int(0.95 * ROOMS) - 1]
    busiest = busiest_second(server.accepted)
    print(f"back after the return: p50 {seconds[ROOMS // 2]:.1f} s, p95 {p95:.1f} s, last {seconds[-1]:.1f} s")
    print(f"connections: {len(server.accepted)} in all, {busiest} in the busiest second")
    print(f"most being opened at once: {server.most_opening}")
    assert len(lived) == ROOMS
    assert p95 <= 15.0
    assert busiest <= 1.5 * config.connects_per_s
    assert len(server.accepted) <= 1.1 * ROOMS
    assert server.most_opening <= config.connects_per_host_at_once


async def test_the_requests_that_wait_for_their_turn_are_exported(server: HttpServer) -> None:
    config = StreamsConfig(connects_per_s=1)
    rooms = [make_stream(server.url(f"/{n}.flv"), f"r{n}") for n in range(6)]
    async with watching(*rooms, config=config) as watch:
        await until(lambda: watch.metric("monitor_stream_connects_waiting") >= 3)
