"""What a supervised stream offers to the one task that consumes it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from monitor.clock import Clock
from monitor.errors import StreamReason
from monitor.redact import redact_text
from monitor.streams.config import StreamsConfig
from monitor.streams.metrics import StreamMetrics
from monitor.streams.packet import EncodedFrame, Packet, VideoFormat
from monitor.streams.ring import PacketRing
from monitor.streams.sampler import Sampler
from monitor.streams.stream import Stream, StreamState, StreamStatus

log = logging.getLogger(__name__)

_RATE_WINDOW_S = 30.0
# Stream time that jumps further than this is a new timeline, not a late packet or a gap.
_JUMP_BACK_S = 1.0
_JUMP_FORWARD_S = 10.0


@dataclass(slots=True)
class Arrivals:
    """When what arrived on the current connection; monotonic seconds."""

    connected_at: float
    begun_at: float | None = None
    """When the source understood the format."""
    first_keyframe_at: float | None = None
    keyframe_at: float | None = None
    """When the newest keyframe arrived."""
    longest_gop_s: float = 0.0
    """Longest distance between two keyframes of the epoch, stream seconds."""


class StreamFeed:
    """A stream's packets, sampled keyframes and status. Everything here happens on the event loop's thread.

    It is the PacketSink of the stream's source. Sampled keyframes go through one slot in which the newest
    wins; the drops are counted.
    """

    def __init__(self, stream: Stream, config: StreamsConfig, clock: Clock, metrics: StreamMetrics) -> None:
        self.stream = stream
        self.ring = PacketRing(config.ring_bytes, config.ring_s, stream.id)
        self._clock = clock
        self._metrics = metrics
        self._sampler = Sampler(config.sample_interval)
        self._status = StreamStatus(state=StreamState.CONNECTING, reason=StreamReason.STARTING, since=clock.utc())
        metrics.moved(None, StreamState.CONNECTING)
        self._slot: EncodedFrame | None = None
        self._filled = asyncio.Event()
        self._progress = asyncio.Event()
        self._format: VideoFormat | None = None
        self._tick_s = 0.0
        self._bytes_received = 0
        self._last_dts: int | None = None
        self._sampled_at: deque[float] = deque(maxlen=int(_RATE_WINDOW_S / config.sample_interval * 4) + 1)
        self._started = clock.monotonic()
        self._arrivals = Arrivals(connected_at=self._started)
        self._last_keyframe_time: float | None = None

    # What the consumer uses.

    @property
    def status(self) -> StreamStatus:
        """What is known of the stream now."""
        now = self._clock.monotonic()
        recent = sum(1 for moment in self._sampled_at if now - moment <= _RATE_WINDOW_S)
        window = min(_RATE_WINDOW_S, max(now - self._started, 1.0))
        return replace(self._status, bytes_received=self._bytes_received, sampled_per_s=recent / window)

    @property
    def state(self) -> StreamState:
        """The status's state, without counting anything."""
        return self._status.state

    @property
    def last_sampled_at(self) -> float | None:
        """Monotonic seconds at which the last keyframe was sampled; None before the first."""
        return self._sampled_at[-1] if self._sampled_at else None

    async def next_frame(self) -> EncodedFrame:
        """The newest sampled keyframe that was not handed out yet; waits for one."""
        while self._slot is None:
            self._filled.clear()
            await self._filled.wait()
        frame, self._slot = self._slot, None
        return frame

    async def wait_until(self, epoch: int, stream_time: float, timeout_s: float) -> bool:
        """Wait until the ring reaches ``stream_time`` (seconds) in ``epoch``.

        Returns False after ``timeout_s``, or as soon as a new epoch has begun.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while self.ring.epoch == epoch:
                    newest = self.ring.newest_time
                    if newest is not None and newest >= stream_time:
                        return True
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            pass
        return False

    # What the source uses: the PacketSink.

    def begin(self, video: VideoFormat) -> None:
        """A new epoch."""
        self._format = video
        self._tick_s = float(video.time_base)
        self.ring.begin(video)
        self._sampler.reset()
        self._last_dts = None
        self._last_keyframe_time = None
        self._arrivals.longest_gop_s = 0.0
        if self._arrivals.begun_at is None:
            self._arrivals.begun_at = self._clock.monotonic()
        self._progress.set()

    def push(self, packets: Sequence[Packet], received_bytes: int) -> None:
        """Packets in decoding order. Stream time that jumps starts a new epoch."""
        self._bytes_received += received_bytes
        self._metrics.bytes_received.inc(received_bytes)
        for packet in packets:
            if self._jumped(packet):
                self.begin(self._known_format)
            self._last_dts = packet.dts
            self.ring.push((packet,))
            if packet.is_keyframe:
                self._on_keyframe(packet)
        self._progress.set()

    async def drained(self) -> None:
        """At once: a live feed drops what is not fetched."""

    # What the supervisor uses.

    @property
    def arrivals(self) -> Arrivals:
        """What arrived on the current connection."""
        return self._arrivals

    def connecting(self) -> None:
        """A connection is being tried."""
        self._arrivals = Arrivals(connected_at=self._clock.monotonic())
        self._status = replace(self._status, connects=self._status.connects + 1)
        self._metrics.connects.inc()

    def enter(self, state: StreamState, reason: StreamReason, detail: str = "", *, quiet: bool = False) -> None:
        """Go to ``state``; ``detail`` is redacted here. A ``quiet`` transition is logged as debug only."""
        detail = redact_text(detail)
        old = self._status.state
        since = self._clock.utc() if state is not old else self._status.since
        self._status = replace(self._status, state=state, reason=reason, detail=detail, since=since)
        self._metrics.moved(old, state)
        level = logging.DEBUG if quiet else logging.INFO
        log.log(level, "stream_state stream=%s state=%s reason=%s detail=%r", self.stream.id, state, reason, detail)

    def removed(self) -> None:
        """The stream is no longer configured."""
        self._metrics.moved(self._status.state, None)

    @property
    def _known_format(self) -> VideoFormat:
        if self._format is None:
            raise RuntimeError("a source pushed packets before it called begin")
        return self._format

    def _jumped(self, packet: Packet) -> bool:
        if self._last_dts is None:
            return False
        step = (packet.dts - self._last_dts) * self._tick_s
        return step < -_JUMP_BACK_S or step > _JUMP_FORWARD_S

    def _on_keyframe(self, packet: Packet) -> None:
        now = self._clock.monotonic()
        stream_time = packet.pts * self._tick_s
        if self._last_keyframe_time is not None:
            gop_s = stream_time - self._last_keyframe_time
            self._arrivals.longest_gop_s = max(self._arrivals.longest_gop_s, gop_s)
        self._last_keyframe_time = stream_time
        self._arrivals.keyframe_at = now
        if self._arrivals.first_keyframe_at is None:
            self._arrivals.first_keyframe_at = now
        if self._status.state is not StreamState.LIVE:
            self.enter(StreamState.LIVE, StreamReason.RECEIVING)
        frame = self.ring.keyframe()
        if frame is not None and self._sampler.take(stream_time):
            self._offer(frame, now)

    def _offer(self, frame: EncodedFrame, now: float) -> None:
        dropped = int(self._slot is not None)
        self._slot = frame
        self._filled.set()
        self._sampled_at.append(now)
        self._metrics.sampled.inc()
        self._metrics.dropped.inc(dropped)
        self._status = replace(
            self._status,
            frames_sampled=self._status.frames_sampled + 1,
            frames_dropped=self._status.frames_dropped + dropped,
        )
