"""What a supervised stream offers to the one task that consumes it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from monitor.clock import Clock
from monitor.errors import StreamError, StreamReason
from monitor.redact import redact_text
from monitor.streams.config import StreamsConfig
from monitor.streams.entry_point import EntryPoint, entry_point
from monitor.streams.gap import Gap
from monitor.streams.metrics import StreamMetrics
from monitor.streams.packet import EncodedFrame, Packet, VideoFormat
from monitor.streams.ring import PacketRing
from monitor.streams.sampler import Sampler
from monitor.streams.sampling import Attention, SamplingPlan
from monitor.streams.stream import Stream, StreamState, StreamStatus

log = logging.getLogger(__name__)

_RATE_WINDOW_S = 30.0
# Stream time that jumps further than this is a new timeline, not a late packet or a gap.
_JUMP_BACK_S = 1.0
_JUMP_FORWARD_S = 10.0
# So long without a keyframe, the newest picture is decoded from the start of its GOP.
_WITHOUT_KEYFRAME_S, _WITHOUT_KEYFRAME_INTERVALS = 10.0, 5.0
# A segment that lasts so little longer than the interval counts as no longer: 2.002 s at 29.97 pictures a second.
_ABOUT = 1.05


@dataclass(slots=True)
class Arrivals:
    """When what arrived on the current connection; monotonic seconds."""

    connected_at: float
    begun_at: float | None = None
    """When the source understood the format."""
    first_keyframe_at: float | None = None
    keyframe_at: float | None = None
    """When the newest keyframe arrived whose stream time lies behind that of all before it."""
    stuck_at: float | None = None
    """When a keyframe last arrived whose stream time does not."""
    delta_at: float | None = None
    """When the newest packet that is no keyframe arrived; None where such are left out on purpose."""
    longest_gop_s: float = 0.0
    """Longest distance between two keyframes of the epoch, stream seconds."""


class StreamFeed:
    """A stream's packets, sampled keyframes and status. Everything here happens on the event loop's thread.

    It is the PickySink of the stream's source. Sampled keyframes go through one slot in which the newest
    wins; the drops are counted.
    """

    def __init__(self, stream: Stream, config: StreamsConfig, clock: Clock, metrics: StreamMetrics) -> None:
        self.stream = stream
        self.ring = PacketRing(config.ring_bytes, config.ring_s, stream.id)
        self._config = config
        self._clock = clock
        self._metrics = metrics
        self._plan = SamplingPlan(
            policy=stream.sampling or config.sampling,
            interval_s=config.sample_interval,
            max_interval_s=config.max_interval,
            keyframes_only=not config.ring_s,
        )
        self._sampler = Sampler(self._plan)
        self._patience_s = max(_WITHOUT_KEYFRAME_S, _WITHOUT_KEYFRAME_INTERVALS * config.sample_interval)
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
        self._taken_at: float | None = None
        self._last_entry_time: float | None = None
        """Stream time of the newest keyframe, or of the picture that was decoded for want of one."""
        self._gap = Gap()
        self._whole_until = 0.0
        """Monotonic seconds until which every packet is wanted."""
        self._refill_wanted = False
        self._wanted = asyncio.Event()
        self._held = (0, 0.0)
        metrics.ring_bound_bytes.inc(config.ring_bytes)
        metrics.ring_bound_seconds.inc(config.ring_s)

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

    @property
    def last_taken_at(self) -> float | None:
        """Monotonic seconds at which the last sampled keyframe was taken up to be analysed; None before the first."""
        return self._taken_at

    @property
    def interval_s(self) -> float:
        """Seconds of stream time between two samples now; 0 for every keyframe."""
        return self._sampler.interval_s

    @property
    def longest_interval_s(self) -> float:
        """The longest that ``interval_s`` can come to."""
        return self._plan.longest_s

    def settle(self, attention: Attention) -> None:
        """What the last picture calls for: the sampling goes on as the stream's policy says."""
        before = self._sampler.interval_s
        self._sampler.settle(attention)
        if self._sampler.interval_s < before:
            self._wanted.set()

    async def fill_ring(self, epoch: int, timeout_s: float) -> bool:
        """Have every packet around now in the ring, and of the next ``ring_s`` seconds, for a burst or a clip.

        True at once where the source leaves nothing out. False where no ring is kept, where the packets did not
        come within ``timeout_s``, or once a new epoch has begun.
        """
        if not self._config.ring_s or self.ring.epoch != epoch:
            return False
        self._whole_until = self._clock.monotonic() + self._config.ring_s
        if not self._gap.within(self.ring.oldest_time):
            return True
        self._refill_wanted = True
        self._wanted.set()
        try:
            async with asyncio.timeout(timeout_s):
                while self._refill_wanted and self.ring.epoch == epoch:
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            self._refill_wanted = False
        return self.ring.epoch == epoch and not self._gap.within(self.ring.oldest_time)

    async def next_frame(self) -> EncodedFrame:
        """The newest sampled keyframe that was not handed out yet; waits for one."""
        while self._slot is None:
            self._filled.clear()
            await self._filled.wait()
        frame, self._slot = self._slot, None
        self._taken_at = self._clock.monotonic()
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
        self._last_keyframe_time = self._last_entry_time = None
        self._gap = Gap()
        self._arrivals.longest_gop_s = 0.0
        if self._arrivals.begun_at is None:
            self._arrivals.begun_at = self._clock.monotonic()
        self._progress.set()

    def push(self, packets: Sequence[Packet], received_bytes: int) -> None:
        """Packets in decoding order. Stream time that jumps starts a new epoch."""
        self._count_received(received_bytes)
        now = self._clock.monotonic()
        for packet in packets:
            if self._jumped(packet):
                self.begin(self._known_format)
            self._take(packet, now)
        self._measure_ring()
        self._progress.set()

    def is_sparse(self, segment_s: float) -> bool:
        """Whether one keyframe for each ``segment_s`` seconds is more than is needed now."""
        whole = self._refill_wanted or self._clock.monotonic() < self._whole_until
        return not whole and self._sampler.interval_s * _ABOUT >= segment_s

    def rest_s(self) -> float:
        """Seconds of stream from here on of which nothing is needed; 0 if the next keyframe is."""
        due_at, last = self._sampler.due_at, self._last_keyframe_time
        return 0.0 if due_at is None or last is None else max(0.0, due_at - last - self._gap.skipped_s)

    def skip(self, seconds: float) -> None:
        """The source leaves out the next ``seconds``: no new epoch begins behind them."""
        self._gap.skip(seconds)
        self._arrivals.delta_at = None

    def wants_refill(self) -> bool:
        """Whether the ring is to be given every packet around now."""
        return self._refill_wanted

    def refill(self, packets: Sequence[Packet], received_bytes: int) -> None:
        """Hold ``packets`` in place of what the ring holds; they are not sampled. None: they cannot be had."""
        self._count_received(received_bytes)
        self._refill_wanted = False
        if packets:
            self.ring.replace([self._judged(packet) for packet in packets])
            self._last_dts = packets[-1].dts
            self._gap = Gap()
        self._measure_ring()
        self._progress.set()

    async def pause(self, seconds: float) -> None:
        """Return after ``seconds``, or as soon as more of the stream is wanted."""
        timer = asyncio.get_running_loop().call_later(seconds, self._wanted.set)
        try:
            await self._wanted.wait()
        finally:
            timer.cancel()
            self._wanted.clear()

    def retried(self, error: StreamError) -> None:
        """A playlist or a segment failed and is tried again."""
        self._metrics.retries.labels(error.reason).inc()
        log.debug("stream_retry stream=%s reason=%s", self.stream.id, error.reason)

    async def drained(self) -> None:
        """At once: a live feed drops what is not fetched."""

    # What the supervisor uses.

    @property
    def reason(self) -> StreamReason:
        """The status's reason."""
        return self._status.reason

    @property
    def bytes_received(self) -> int:
        """Bytes read from the network so far."""
        return self._bytes_received

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
        self.ring.replace(())
        self._measure_ring()
        self._metrics.ring_bound_bytes.dec(self._config.ring_bytes)
        self._metrics.ring_bound_seconds.dec(self._config.ring_s)

    @property
    def _known_format(self) -> VideoFormat:
        if self._format is None:
            raise RuntimeError("a source pushed packets before it called begin")
        return self._format

    def _count_received(self, received_bytes: int) -> None:
        self._bytes_received += received_bytes
        self._metrics.bytes_received.inc(received_bytes)

    def _measure_ring(self) -> None:
        held = (self.ring.size, self.ring.seconds)
        self._metrics.ring_bytes.inc(held[0] - self._held[0])
        self._metrics.ring_seconds.inc(held[1] - self._held[1])
        self._held = held

    def _jumped(self, packet: Packet) -> bool:
        if self._last_dts is None:
            return False
        step = (packet.dts - self._last_dts) * self._tick_s
        return step < -_JUMP_BACK_S or step > _JUMP_FORWARD_S + 2 * self._gap.skipped_s

    def _judged(self, packet: Packet) -> Packet:
        """The packet, as a recovery point if it is no keyframe though its container says so."""
        if packet.is_keyframe and entry_point(self._known_format, packet.data) is EntryPoint.RECOVERY:
            return replace(packet, is_keyframe=False, is_recovery_point=True)
        return packet

    def _take(self, packet: Packet, now: float) -> None:
        packet = self._judged(packet) if packet.is_keyframe else packet
        self._last_dts = packet.dts
        self.ring.push((packet,))
        stream_time = packet.dts * self._tick_s
        if packet.is_keyframe:
            self._on_keyframe(packet, now)
        else:
            self._arrivals.delta_at = now
            self._without_keyframe(stream_time)
        self._gap.arrived(stream_time)

    def _on_keyframe(self, packet: Packet, now: float) -> None:
        stream_time = packet.pts * self._tick_s
        if self._last_keyframe_time is not None:
            gop_s = stream_time - self._last_keyframe_time
            if gop_s <= 0:
                self._arrivals.stuck_at = now
                return
            if not self._gap.skipped_s:
                self._arrivals.longest_gop_s = max(self._arrivals.longest_gop_s, gop_s)
        self._last_keyframe_time = self._last_entry_time = stream_time
        self._shown(now)
        frame = self.ring.keyframe()
        if frame is not None and self._sampler.take(stream_time, fetched_for_it=self._gap.skipped_s > 0):
            self._offer(frame, now)

    def _without_keyframe(self, stream_time: float) -> None:
        """Look at the newest picture all the same, once keyframes have failed to come for long."""
        if self._last_entry_time is None:
            self._last_entry_time = stream_time
        if stream_time - self._last_entry_time < self._patience_s:
            return
        self._last_entry_time = stream_time
        frame = self.ring.newest_picture()
        if frame is not None:
            self._shown(self._clock.monotonic())
            self._metrics.decoded_through.inc()
            self._offer(frame, self._clock.monotonic())

    def _shown(self, now: float) -> None:
        """A picture that can be decoded is here: the stream is live."""
        self._arrivals.keyframe_at = now
        if self._arrivals.first_keyframe_at is None:
            self._arrivals.first_keyframe_at = now
        if self._status.state is not StreamState.LIVE:
            self.enter(StreamState.LIVE, StreamReason.RECEIVING)

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
