"""Watches every configured stream: one task that keeps it connected, one that consumes it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from types import MappingProxyType

from monitor.clock import Clock
from monitor.streams.config import NetworkConfig, StreamsConfig
from monitor.streams.feed import StreamFeed
from monitor.streams.gate import ConnectGate
from monitor.streams.guard import AddressGuard
from monitor.streams.http import GuardedHttp
from monitor.streams.keeper import StreamKeeper
from monitor.streams.libav_limits import bounded_allocations
from monitor.streams.lifecycle import unwatched
from monitor.streams.metrics import StreamMetrics
from monitor.streams.reach import Reach
from monitor.streams.stream import Stream, StreamState, StreamStatus

log = logging.getLogger(__name__)

_TICK_S = 0.5
_CONSUMER_PAUSE_S = 1.0

Consume = Callable[[StreamFeed], Awaitable[None]]


class StreamSupervisor:
    """Runs, for each stream, a task that reads it and a task that consumes it, and keeps them apart from each other.

    :param consume: called once for each stream with its feed; runs as long as the stream is configured. If it
        raises, that is logged and counted, and it is called again.
    """

    def __init__(
        self,
        *,
        config: StreamsConfig,
        network: NetworkConfig,
        clock: Clock,
        metrics: StreamMetrics,
        consume: Consume,
    ) -> None:
        self._config = config
        self._guard = AddressGuard(network)
        self._clock = clock
        self._metrics = metrics
        self._consume = consume
        self._feeds: dict[str, StreamFeed] = {}
        self._wanted: dict[str, Stream] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._begin: Callable[[Stream], asyncio.Task[None]] | None = None

    @property
    def feeds(self) -> Mapping[str, StreamFeed]:
        """The feed of each stream, by the stream's id; filled while ``run`` runs."""
        return MappingProxyType(self._feeds)

    def statuses(self) -> dict[str, StreamStatus]:
        """What is known of each stream now, by its id."""
        return {stream_id: feed.status for stream_id, feed in self._feeds.items()}

    def status(self, stream_id: str) -> StreamStatus | None:
        """What is known of one stream now; None until it is watched."""
        feed = self._feeds.get(stream_id)
        return feed.status if feed else None

    def states(self) -> dict[str, StreamState]:
        """The state of each stream by its id, without counting anything."""
        return {stream_id: feed.state for stream_id, feed in self._feeds.items()}

    def add(self, stream: Stream) -> None:
        """Watch one more, at once if ``run`` runs; one of the same id is replaced by it."""
        self.remove(stream.id)
        self._wanted[stream.id] = stream
        if self._begin is not None:
            self._tasks[stream.id] = self._begin(stream)

    def remove(self, stream_id: str) -> None:
        """Watch it no longer; its connection ends on its own. Unknown ids are ignored."""
        self._wanted.pop(stream_id, None)
        self._feeds.pop(stream_id, None)
        if task := self._tasks.pop(stream_id, None):
            task.cancel()

    async def run(self, streams: Iterable[Stream] = ()) -> None:
        """Watch ``streams`` and those that were added, until cancelled; also when there are none."""
        demuxers = ThreadPoolExecutor(max_workers=cpu_count() or 1, thread_name_prefix="demux")
        try:
            async with GuardedHttp(self._guard, open_timeout_s=self._config.open_timeout_s) as http:
                reach = Reach(guard=self._guard, http=http, demuxers=demuxers, config=self._config, clock=self._clock)
                with bounded_allocations():
                    await self._watch_all(streams, reach)
        finally:
            self._begin = None
            self._feeds.clear()
            self._tasks.clear()
            demuxers.shutdown(wait=False, cancel_futures=True)

    async def _watch_all(self, streams: Iterable[Stream], reach: Reach) -> None:
        gate = ConnectGate(self._config, self._metrics.connects_waiting.inc)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._count_unwatched(), name="streams-unwatched")
            self._begin = lambda stream: group.create_task(self._watch(stream, reach, gate), name=f"stream-{stream.id}")
            for stream in (*self._wanted.values(), *streams):
                self.add(stream)

    async def _watch(self, stream: Stream, reach: Reach, gate: ConnectGate) -> None:
        """Read and consume one stream until cancelled."""
        feed = StreamFeed(stream, self._config, self._clock, self._metrics)
        self._feeds[stream.id] = feed
        try:
            async with asyncio.TaskGroup() as group:
                keeper = StreamKeeper(feed, reach, gate.host(stream.url), self._metrics)
                group.create_task(keeper.run(), name=f"source-{stream.id}")
                group.create_task(self._keep_consuming(feed), name=f"consume-{stream.id}")
        finally:
            # Not before its source has let go of it, which may still have pushed.
            feed.removed()

    async def _keep_consuming(self, feed: StreamFeed) -> None:
        while True:
            try:
                return await self._consume(feed)
            # Top of a task: one stream's analysis must not take the others down with it.
            except Exception:
                self._metrics.consumer_restarts.inc()
                log.exception("consumer_failed stream=%s restart_in_s=%g", feed.stream.id, _CONSUMER_PAUSE_S)
            await asyncio.sleep(_CONSUMER_PAUSE_S)

    async def _count_unwatched(self) -> None:
        """Count, for each stream, the seconds in which nothing of it was looked at."""
        before = self._clock.monotonic()
        while True:
            await asyncio.sleep(_TICK_S)
            now = self._clock.monotonic()
            for feed in self._feeds.values():
                reason = unwatched(
                    feed.state,
                    feed.reason,
                    interval_s=max(feed.interval_s, self._config.sample_interval),
                    sampled_at=feed.last_sampled_at,
                    taken_at=feed.last_taken_at,
                    now=now,
                )
                if reason is not None:
                    self._metrics.unwatched.labels(reason).inc(now - before)
            before = now
