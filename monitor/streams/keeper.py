"""Keeps one stream connected: opens it, looks after it, waits and opens it again."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from urllib.parse import urlsplit

from monitor.clock import Clock
from monitor.errors import StreamError, StreamReason
from monitor.streams.budget import Budget
from monitor.streams.config import StreamsConfig
from monitor.streams.feed import StreamFeed
from monitor.streams.gate import UNREACHABLE, HostGate, Slot
from monitor.streams.lifecycle import Backoff, Health, health, soonest_stall
from monitor.streams.metrics import StreamMetrics
from monitor.streams.packet import Source
from monitor.streams.reach import Reach
from monitor.streams.sources import choose, is_file
from monitor.streams.stream import StreamState

log = logging.getLogger(__name__)

# How often a connection is looked at, and how seldom at the most.
_TICK_S, _CHARGE_S, _LONG_TICK_S = 0.25, 1.0, 5.0
_SETTLED_S = 1.0
_LEAVE_S = 1.5


class StreamKeeper:
    """The life of one stream, from its first connection to the end of the room and beyond."""

    def __init__(self, feed: StreamFeed, reach: Reach, host: HostGate, metrics: StreamMetrics) -> None:
        config = reach.config
        self._feed = feed
        self._host = host
        self._metrics = metrics
        self._config: StreamsConfig = config
        self._clock: Clock = reach.clock
        self._budget = Budget(opens=config.opens_per_minute, received_bytes=config.bytes_per_minute, clock=reach.clock)
        self._reach = replace(reach, http=reach.http.within(self._budget))
        self._backoff = Backoff(config.backoff_initial_s, config.backoff_max_s)
        self._is_file = is_file(feed.stream.url)
        # What our own client reads is charged as it comes; what libav reads, when it arrives.
        self._charges_arrivals = urlsplit(feed.stream.url).scheme in ("rtmp", "rtmps")
        self._charged = 0
        self._end_was_confirmed = False
        self._was_woken = False

    async def run(self) -> None:
        """Connect, and connect again, until the stream has ended for good."""
        self._feed.enter(StreamState.CONNECTING, StreamReason.STARTING)
        try:
            source = choose(self._feed.stream.url, self._reach)
        except StreamError as err:
            return self._feed.enter(StreamState.ENDED, err.reason, err.detail)
        while True:
            error = await self._attempt(source)
            self._judge_attempt(error)
            if error is None and not self._is_file and not self._is_probe and not self._end_was_confirmed:
                # An end is looked at once more before it is believed.
                self._end_was_confirmed = True
                await self._back_off(StreamError(StreamReason.END_OF_STREAM, "to be confirmed"))
            elif error is not None and error.retryable and not self._is_probe:
                await self._back_off(error)
            else:
                self._end(error)
                if self._is_file:
                    return None
                await asyncio.sleep(self._config.ended_probe_s)

    def _judge_attempt(self, error: StreamError | None) -> None:
        arrivals = self._feed.arrivals
        first, last = arrivals.first_keyframe_at, arrivals.keyframe_at
        if first is not None and last is not None:
            self._end_was_confirmed = False
            # It brought keyframes for long enough that its end is not one more failure.
            if last - first >= self._config.stall_after_s:
                self._backoff.reset()
        if error is not None:
            self._metrics.failed(error.reason)
            self._host.failed(error.reason)

    @property
    def _is_probe(self) -> bool:
        """Whether the last connection only looked if an ended stream is back, and found nothing."""
        return self._feed.state is StreamState.ENDED

    def _end(self, error: StreamError | None) -> None:
        feed = self._feed
        if self._is_probe and (error is None or error.retryable):
            return
        if error is None:
            feed.enter(StreamState.ENDED, StreamReason.END_OF_STREAM, quiet=self._is_probe)
        else:
            same = self._is_probe and feed.status.reason == error.reason
            feed.enter(StreamState.ENDED, error.reason, error.detail, quiet=same)

    async def _back_off(self, error: StreamError) -> None:
        sampled_at = self._feed.last_sampled_at
        wait_s = self._backoff.next_s(None if sampled_at is None else self._clock.monotonic() - sampled_at)
        detail = f"{error.detail}; " if error.detail else ""
        failures = f"failures={self._backoff.failures} retry_in_s={wait_s:.1f}"
        self._feed.enter(StreamState.BACKING_OFF, error.reason, f"{detail}{failures}")
        # One that was woken and failed at once sits out its next wait, so that a host which comes and goes does
        # not set the back-off aside.
        wakeable = error.reason in UNREACHABLE and not self._was_woken
        self._was_woken = await self._host.rest(wait_s, wakeable=wakeable)
        # A stream that keeps failing is logged once for each wait, not twice.
        self._feed.enter(StreamState.CONNECTING, error.reason, detail.rstrip("; "), quiet=True)

    async def _attempt(self, source: Source) -> StreamError | None:
        """One connection from its beginning to its end; None if the stream came to its end."""
        slot = await self._host.enter()
        self._feed.connecting()
        reading = asyncio.create_task(_read(source, self._feed), name=f"read-{self._feed.stream.id}")
        try:
            while not reading.done():
                await asyncio.wait({reading}, timeout=self._tick_s(source))
                if not reading.done():
                    self._look_after(source, slot)
            return reading.result()
        except StreamError as err:
            return err
        finally:
            slot.release()
            if not reading.done():
                reading.cancel()
                await asyncio.wait({reading}, timeout=_LEAVE_S)

    def _tick_s(self, source: Source) -> float:
        """Seconds until the connection is looked at again: while all is well, not before it could have stalled."""
        arrivals = self._feed.arrivals
        now = self._clock.monotonic()
        if (
            self._feed.state is not StreamState.LIVE
            or arrivals.begun_at is None
            or now - arrivals.begun_at < _SETTLED_S
        ):
            return _TICK_S
        stalls_in_s = soonest_stall(arrivals, self._config, cadence_s=source.cadence_s) - now
        return max(_TICK_S, min(stalls_in_s, _CHARGE_S if self._charges_arrivals else _LONG_TICK_S))

    def _look_after(self, source: Source, slot: Slot) -> None:
        """:raises StreamError: when the connection is to be given up."""
        feed = self._feed
        if feed.arrivals.begun_at is not None:
            slot.release()
        if feed.arrivals.keyframe_at is not None:
            self._host.answered()
        if self._charges_arrivals:
            received = feed.bytes_received
            self._budget.receive(received - self._charged)
            self._charged = received
        verdict = health(feed.arrivals, self._config, cadence_s=source.cadence_s, now=self._clock.monotonic())
        if verdict is not Health.WELL and feed.state is StreamState.LIVE:
            reason = StreamReason.TIME_STUCK if verdict is Health.STUCK else StreamReason.NO_KEYFRAME
            feed.enter(StreamState.STALLED, reason)


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
