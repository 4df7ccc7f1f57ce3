"""Encoded video on its way: packets, their format, and what is sent to be analysed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Protocol, runtime_checkable

from monitor.errors import StreamError


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFormat:
    """What a decoder needs to know before the first packet."""

    codec: str
    """FFmpeg's codec name: ``h264``, ``hevc``, ``mjpeg``."""
    extradata: bytes | None = field(repr=False)
    width: int
    """Pixels; 0 where only the decoder will know, as for ``height``."""
    height: int
    time_base: Fraction
    """Seconds per tick of ``pts`` and ``dts``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One encoded video packet."""

    data: bytes = field(repr=False)
    pts: int
    """Presentation time in ticks of the format's ``time_base``."""
    dts: int
    is_keyframe: bool
    received_at: datetime
    """UTC at which this machine had it."""
    is_recovery_point: bool = False
    """No keyframe, but a decoder that begins here shows whole pictures some time later (intra refresh)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedFrame:
    """What travels to a worker: one keyframe, or a GOP's prefix up to the wanted instants.

    ``packets`` start with a keyframe (with a recovery point where the stream has no keyframes) and stand in
    decoding order; ``instants`` are the presentation times (ticks, ascending) of the pictures wanted. For a
    keyframe sample both have one element.
    """

    stream_id: str
    epoch: int
    """Counts the stream's connections and discontinuities; stream times compare only within one."""
    format: VideoFormat
    packets: tuple[Packet, ...] = field(repr=False)
    instants: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.packets or not (self.packets[0].is_keyframe or self.packets[0].is_recovery_point):
            raise ValueError("an encoded frame starts with a keyframe or a recovery point")
        if not self.instants:
            raise ValueError("an encoded frame needs at least one wanted instant")

    @property
    def stream_time(self) -> float:
        """Stream time in seconds of the last wanted instant."""
        return float(self.instants[-1] * self.format.time_base)

    @property
    def received_at(self) -> datetime:
        """UTC at which the last packet arrived."""
        return self.packets[-1].received_at

    @property
    def size(self) -> int:
        """Bytes of all packets."""
        return sum(len(packet.data) for packet in self.packets)


class PacketSink(Protocol):
    """Takes what a source reads. Called on the event loop's thread only."""

    def begin(self, video: VideoFormat) -> None:
        """A connection or a discontinuity: later packets belong to a new epoch with this format."""

    def push(self, packets: Sequence[Packet], received_bytes: int) -> None:
        """Packets in decoding order, and how many bytes were read from the network for them.

        Bytes alone may come at any time, packets only after ``begin``.
        """

    async def drained(self) -> None:
        """Return when the sink takes more. Recordings wait for it; a live source never does."""


@runtime_checkable
class PickySink(PacketSink, Protocol):
    """A sink that says how little it needs, for sources that can leave parts of a stream unread."""

    @property
    def interval_s(self) -> float:
        """Seconds of stream between two wanted pictures; 0 where every keyframe is wanted."""

    def is_sparse(self, segment_s: float) -> bool:
        """Whether one keyframe for each ``segment_s`` seconds is more than is needed now."""

    def rest_s(self) -> float:
        """Seconds of stream from here on of which nothing is needed; 0 if the next keyframe is."""

    def skip(self, seconds: float) -> None:
        """The source leaves out the next ``seconds`` of the stream, though nothing is wrong with it."""

    def wants_refill(self) -> bool:
        """Whether the ring is to be given every packet around now, in place of the keyframes that it holds."""

    def refill(self, packets: Sequence[Packet], received_bytes: int) -> None:
        """Every packet of the epoch's last seconds, from a keyframe on; none, if they cannot be had."""

    async def pause(self, seconds: float) -> None:
        """Return after ``seconds``, or as soon as a refill is wanted."""

    def retried(self, error: StreamError) -> None:
        """Something failed that the source tries again without leaving the connection."""


class Source(Protocol):
    """One way to read a stream. It knows nothing of retrying: the supervisor restarts it.

    The same object is run again after a failure, so that it can remember what it has seen.
    """

    @property
    def cadence_s(self) -> float:
        """Seconds between two arrivals when all is well: the segment duration of HLS, 0 for a steady connection."""

    async def run(self, sink: PacketSink) -> None:
        """Read until the stream ends (returns) or fails.

        :raises StreamError: with the reason; cancelling closes everything that was opened.
        """
