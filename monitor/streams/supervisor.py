"""Keeps every configured stream connected. The only place that retries."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from types import MappingProxyType

from monitor.clock import Clock
from monitor.errors import StreamError, StreamReason
from monitor.streams.config import NetworkConfig, StreamsConfig
from monitor.streams.feed import StreamFeed
from monitor.streams.guard import AddressGuard
from monitor.streams.http import GuardedHttp
from monitor.streams.lifecycle import Backoff, Health, health
from monitor.streams.metrics import StreamMetrics
from monitor.streams.packet import Source
from monitor.streams.reach import Reach
from monitor.streams.sources import choose, is_file
from monitor.streams.stream import Stream, StreamState, StreamStatus

log = logging.getLogger(__name__)

_TICK_S = 0.25
_LEAVE_S = 1.5
_CONSUMER_PAUSE_S = 1.0
# Later than this many sampling intervals after the last sample, a live stream counts as not watched.
_OVERDUE_INTERVALS = 2.0

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

    @property
    def feeds(self) -> Mapping[str, StreamFeed]:
        """The feed of each stream, by the stream's id; filled while ``run`` runs."""
        return MappingProxyType(self._feeds)

    def statuses(self) -> dict[str, StreamStatus]:
        """What is known of each stream now, by its id."""
        return {stream_id: feed.status for stream_id, feed in self._feeds.items()}

    async def run(self, streams: Iterable[Stream]) -> None:
        """Watch ``streams`` until cancelled, also when all have ended or there are none."""
        demuxers = ThreadPoolExecutor(max_workers=cpu_count() or 1, thread_name_prefix="demux")
        try:
            async with GuardedHttp(self._guard, open_timeout_s=self._config.open_timeout_s) as http:
                reach = Reach(guard=self._guard, http=http, demuxers=demuxers, config=self._config, clock=self._clock)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._count_unwatched(), name="streams-unwatched")
                    for stream in streams:
                        feed = StreamFeed(stream, self._config, self._clock, self._metrics)
                        self._feeds[stream.id] = feed
                        group.create_task(self._keep(feed, reach), name=f"source-{stream.id}")
                        group.create_task(self._keep_consuming(feed), name=f"consume-{stream.id}")
        finally:
            for feed in self._feeds.values():
                feed.removed()
            self._feeds.clear()
            demuxers.shutdown(wait=False, cancel_futures=True)

    async def _keep_consuming(self, feed: StreamFeed) -> None:
        while True:
            try:
                return await self._consume(feed)
            # Top of a task: one stream's analysis must not take the others down with it.
            except Exception:
                self._metrics.consumer_restarts.inc()
                log.exception("consumer_failed stream=%s restart_in_s=%g", feed.stream.id, _CONSUMER_PAUSE_S)
            await asyncio.sleep(_CONSUMER_PAUSE_S)

    async def _keep(self, feed: StreamFeed, reach: Reach) -> None:
        """Connect, and connect again, until the stream has ended for good."""
        config = self._config
        backoff = Backoff(config.backoff_initial_s, config.backoff_max_s)
        feed.enter(StreamState.CONNECTING, StreamReason.STARTING)
        try:
            source = choose(feed.stream.url, reach)
        except StreamError as err:
            return feed.enter(StreamState.ENDED, err.reason, err.detail)
        while True:
            error = await self._attempt(feed, source)
            if self._was_well(feed):
                backoff.reset()
            if error is not None:
                self._metrics.failed(error.reason)
            if error is not None and error.retryable and not self._is_probe(feed):
                await self._back_off(feed, error, backoff)
                continue
            self._end(feed, error)
            if is_file(feed.stream.url):
                return None
            await asyncio.sleep(config.ended_probe_s)

    def _was_well(self, feed: StreamFeed) -> bool:
        """Whether the last connection brought keyframes for long enough that its end is not one more failure."""
        first, last = feed.arrivals.first_keyframe_at, feed.arrivals.keyframe_at
        return first is not None and last is not None and last - first >= self._config.stall_after_s

    def _is_probe(self, feed: StreamFeed) -> bool:
        """Whether the last connection only looked if an ended stream is back, and found nothing."""
        return feed.state is StreamState.ENDED

    def _end(self, feed: StreamFeed, error: StreamError | None) -> None:
        if self._is_probe(feed) and (error is None or error.retryable):
            return
        if error is None:
            feed.enter(StreamState.ENDED, StreamReason.END_OF_STREAM, quiet=self._is_probe(feed))
        else:
            same = self._is_probe(feed) and feed.status.reason == error.reason
            feed.enter(StreamState.ENDED, error.reason, error.detail, quiet=same)

    async def _back_off(self, feed: StreamFeed, error: StreamError, backoff: Backoff) -> None:
        wait_s = backoff.next_s()
        detail = f"{error.detail}; " if error.detail else ""
        feed.enter(
            StreamState.BACKING_OFF, error.reason, f"{detail}failures={backoff.failures} retry_in_s={wait_s:.1f}"
        )
        await asyncio.sleep(wait_s)
        # A stream that keeps failing is logged once for each wait, not twice.
        feed.enter(StreamState.CONNECTING, error.reason, detail.rstrip("; "), quiet=True)

    async def _attempt(self, feed: StreamFeed, source: Source) -> StreamError | None:
        """One connection from its beginning to its end; None if the stream came to its end."""
        feed.connecting()
        reading = asyncio.create_task(_read(source, feed), name=f"read-{feed.stream.id}")
        try:
            while not reading.done():
                await asyncio.wait({reading}, timeout=_TICK_S)
                if not reading.done():
                    self._look_after(feed, source)
            return reading.result()
        except StreamError as err:
            return err
        finally:
            if not reading.done():
                reading.cancel()
                await asyncio.wait({reading}, timeout=_LEAVE_S)

    def _look_after(self, feed: StreamFeed, source: Source) -> None:
        """:raises StreamError: when the connection is to be given up."""
        now = self._clock.monotonic()
        verdict = health(feed.arrivals, self._config, cadence_s=source.cadence_s, now=now)
        if verdict is Health.STALLED and feed.state is StreamState.LIVE:
            feed.enter(StreamState.STALLED, StreamReason.NO_KEYFRAME)

    async def _count_unwatched(self) -> None:
        """Count, for each stream, the seconds in which nothing of it was sampled."""
        before = self._clock.monotonic()
        while True:
            await asyncio.sleep(_TICK_S)
            now = self._clock.monotonic()
            for feed in self._feeds.values():
                state = feed.state
                sampled_at = feed.last_sampled_at
                overdue_s = _OVERDUE_INTERVALS * self._config.sample_interval
                live = state in (StreamState.LIVE, StreamState.STALLED)
                if state is StreamState.ENDED or (live and sampled_at is not None and now - sampled_at <= overdue_s):
                    continue
                self._metrics.unwatched.labels(state).inc(now - before)
            before = now


async def _read(source: Source, feed: StreamFeed) -> StreamError | None:
    try:
        await source.run(feed)
    except StreamError as err:
        return err
    # Top of a task: a defect met by one stream's data is that stream's failure, and is tried again.
    except Exception as err:
        log.exception("source_failed stream=%s", feed.stream.id)
        return StreamError(StreamReason.BAD_DATA, type(err).__name__)
    return None
