"""Passes what a live connection brings on to the sink, and knows by when more of it must have come."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.clock import Clock
from monitor.errors import StreamError, StreamReason
from monitor.streams.config import StreamsConfig
from monitor.streams.flv_video import Item
from monitor.streams.packet import Packet, PacketSink


class Intake:
    """One connection's video on its way to the sink. The first of it must come within the open timeout, every
    further packet within the read timeout, and whole: single bytes, sound and repeated formats put nothing off."""

    def __init__(self, sink: PacketSink, clock: Clock, config: StreamsConfig) -> None:
        self._sink = sink
        self._clock = clock
        self._packet_timeout_s = config.packet_timeout_s
        self._unreported = 0
        self.deadline = clock.monotonic() + config.open_timeout_s
        """Monotonic seconds by which something must have been taken."""
        self.has_begun = False
        """Whether the format is known."""

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; negative behind it."""
        return self.deadline - self._clock.monotonic()

    def take(self, items: Sequence[Item], received_bytes: int) -> None:
        """Pass on what ``received_bytes`` of the network came to, which may be nothing."""
        batch: list[Packet] = []
        self._unreported += received_bytes
        for item in items:
            if isinstance(item, Packet):
                batch.append(item)
                continue
            self._push(batch)
            batch = []
            self._sink.begin(item)
            self.has_begun = True
        self._push(batch)
        if items:
            self.deadline = self._clock.monotonic() + self._packet_timeout_s

    def late(self, *, has_sound: bool) -> StreamError:
        """What it means that the deadline has passed."""
        if self.has_begun:
            return StreamError(StreamReason.READ_TIMEOUT)
        if has_sound:
            return StreamError(StreamReason.NO_VIDEO, "no video among what the stream carries")
        return StreamError(StreamReason.OPEN_TIMEOUT)

    def _push(self, batch: Sequence[Packet]) -> None:
        # Bytes count as they come, also those before the format is known.
        if batch or self._unreported:
            self._sink.push(batch, self._unreported)
            self._unreported = 0
