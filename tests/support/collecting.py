"""A source run by itself, and what it hands to its sink."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from support.waiting import wait_for
from support.watching import LOOPBACK, QUICK

from monitor.clock import SystemClock
from monitor.errors import StreamError
from monitor.streams.config import NetworkConfig, StreamsConfig
from monitor.streams.guard import AddressGuard
from monitor.streams.http import GuardedHttp
from monitor.streams.packet import Packet, VideoFormat
from monitor.streams.reach import Reach
from monitor.streams.sources import choose


@dataclass
class Collected:
    """A sink that keeps everything."""

    formats: list[VideoFormat] = field(default_factory=list)
    packets: list[Packet] = field(default_factory=list)
    received: int = 0
    pushes: int = 0
    error: StreamError | None = None

    def begin(self, video: VideoFormat) -> None:
        self.formats.append(video)

    def push(self, packets: Sequence[Packet], received_bytes: int) -> None:
        assert self.formats or not packets, "pushed before begun"
        self.packets += packets
        self.received += received_bytes
        self.pushes += 1

    async def drained(self) -> None:
        return


@asynccontextmanager
async def reaching(config: StreamsConfig = QUICK, network: NetworkConfig = LOOPBACK) -> AsyncIterator[Reach]:
    """What a source reads with."""
    guard = AddressGuard(network)
    with ThreadPoolExecutor(1) as demuxers:
        async with GuardedHttp(guard, open_timeout_s=config.open_timeout_s) as http:
            yield Reach(guard=guard, http=http, demuxers=demuxers, config=config, clock=SystemClock())


@asynccontextmanager
async def collecting(url: str, config: StreamsConfig = QUICK, *, paced: bool = True) -> AsyncIterator[Collected]:
    """The source of ``url``, running until the end of the block."""
    sink = Collected()

    async def run(reach: Reach) -> None:
        try:
            await choose(url, reach, paced=paced).run(sink)
        except StreamError as err:
            sink.error = err

    async with reaching(config) as reach:
        task = asyncio.create_task(run(reach))
        try:
            yield sink
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def on_air(url: str) -> None:
    """Return once the server has the room ``url``, which it does not before its publisher is there."""

    async def begun() -> bool:
        async with collecting(url) as sink:
            await wait_for(lambda: sink.error or sink.formats, timeout_s=30, what="an answer")
        return sink.error is None

    await wait_for(begun, timeout_s=30, what="the room is on the air")
