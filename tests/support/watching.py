"""A running supervisor over real servers, with short deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from monitor.clock import SystemClock
from monitor.streams.config import NetworkConfig, StreamsConfig
from monitor.streams.feed import StreamFeed
from monitor.streams.metrics import StreamMetrics
from monitor.streams.packet import EncodedFrame
from monitor.streams.stream import Stream, StreamState, StreamStatus
from monitor.streams.supervisor import StreamSupervisor

LOOPBACK = NetworkConfig(allow=("127.0.0.0/8",))
QUICK = StreamsConfig(
    sample_interval=1.0,
    open_timeout_s=5.0,
    read_timeout_s=5.0,
    segment_timeout_s=5.0,
    stall_after_s=1.0,
    stall_grace_s=1.0,
    backoff_initial_s=0.2,
    backoff_max_s=1.0,
    ended_probe_s=0.3,
)
IMPATIENT = QUICK.model_copy(update={"open_timeout_s": 1.0, "read_timeout_s": 1.0, "segment_timeout_s": 1.0})
"""For those who wait for a timeout; anybody else's room is lost with it when the machine stands still for so long."""


def make_stream(url: str, stream_id: str = "room") -> Stream:
    """A Stream whose only interesting part is its address."""
    return Stream(id=stream_id, url=str(url), platform="demo", account="someone", room=stream_id)


async def until(condition: Callable[[], bool], within_s: float = 30.0) -> None:
    """Return as soon as ``condition`` holds; fail if it does not within ``within_s``."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"did not come true within {within_s} s")
        await asyncio.sleep(0.02)


@dataclass
class Watch:
    """A running supervisor, and the frames that its consumers were given."""

    supervisor: StreamSupervisor
    registry: CollectorRegistry
    frames: dict[str, list[EncodedFrame]] = field(default_factory=dict)

    def status(self, stream_id: str = "room") -> StreamStatus:
        return self.supervisor.statuses()[stream_id]

    def feed(self, stream_id: str = "room") -> StreamFeed:
        return self.supervisor.feeds[stream_id]

    async def state(self, state: StreamState, stream_id: str = "room", within_s: float = 30.0) -> StreamStatus:
        """The status as soon as the stream is in ``state``."""
        with suppress(AssertionError):
            await until(lambda: self._state(stream_id) is state, within_s)
            return self.status(stream_id)
        raise AssertionError(f"{stream_id} is not {state} but {self.status(stream_id)}")

    def _state(self, stream_id: str) -> StreamState | None:
        status = self.supervisor.statuses().get(stream_id)
        return status.state if status else None

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def watching(
    *streams: Stream,
    config: StreamsConfig = QUICK,
    network: NetworkConfig = LOOPBACK,
    consume: Callable[[StreamFeed], Awaitable[None]] | None = None,
) -> AsyncIterator[Watch]:
    """A supervisor running over ``streams``; cancelled at the end."""
    registry = CollectorRegistry()
    frames: dict[str, list[EncodedFrame]] = {stream.id: [] for stream in streams}

    async def collect(feed: StreamFeed) -> None:
        while True:
            frames[feed.stream.id].append(await feed.next_frame())

    supervisor = StreamSupervisor(
        config=config, network=network, clock=SystemClock(), metrics=StreamMetrics(registry), consume=consume or collect
    )
    task = asyncio.create_task(supervisor.run(streams))
    try:
        await until(lambda: len(supervisor.feeds) == len(streams) or task.done())
        yield Watch(supervisor, registry, frames)
        assert not task.done(), "the supervisor ended by itself"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
