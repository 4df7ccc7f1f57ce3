"""Passes HLS segments on to the sink: epochs where the timeline or the format changes, GOP by GOP in time."""

from __future__ import annotations

import asyncio
import time

from monitor.streams.packet import Packet, PacketSink, VideoFormat
from monitor.streams.playlist import Segment
from monitor.streams.segment import same_format

# A live segment arrives whole. It is passed on this much faster than real time instead of at once: the
# consumer's one slot would otherwise keep only the segment's last keyframe.
_LIVE_SPEED = 5.0


def gops(packets: tuple[Packet, ...]) -> list[list[Packet]]:
    """``packets`` cut before each keyframe."""
    groups: list[list[Packet]] = []
    for packet in packets:
        if packet.is_keyframe or not groups:
            groups.append([])
        groups[-1].append(packet)
    return groups


class Playback:
    """One run's segments on their way to the sink."""

    def __init__(self, sink: PacketSink, pace: Pace) -> None:
        self._sink = sink
        self._pace = pace
        self._format: VideoFormat | None = None

    @property
    def begun(self) -> bool:
        """Whether anything was passed on."""
        return self._format is not None

    def fits(self, video: VideoFormat) -> bool:
        """Whether packets of this format belong to the epoch that is being played."""
        return same_format(self._format, video)

    async def play(self, segment: Segment, video: VideoFormat, packets: tuple[Packet, ...], received: int) -> None:
        """Pass the ``packets`` of ``segment`` on when they are due; ``received`` bytes were read for them."""
        if segment.discontinuity or not same_format(self._format, video):
            self._sink.begin(video)
            self._format = video
        first = packets[0].dts
        for group in gops(packets):
            await self._pace.wait(float((group[0].dts - first) * video.time_base))
            self._sink.push(group, received)
            received = 0
        self._pace.ended(segment.seconds)


class Pace:
    """When the next GOP is due: recordings in real time (or as the sink takes them), live segments faster."""

    def __init__(self, sink: PacketSink, *, recorded: bool, paced: bool) -> None:
        self._sink = sink
        self._recorded = recorded
        self._paced = paced
        self._origin: float | None = None

    async def wait(self, offset_s: float) -> None:
        """Return when what is ``offset_s`` into the segment is due."""
        if not self._paced:
            await self._sink.drained()
            return
        now = time.monotonic()
        if self._origin is None:
            self._origin = now
        due = self._origin + offset_s / (1.0 if self._recorded else _LIVE_SPEED)
        # Also when it is late: whoever waits for a picture takes it before the next one comes.
        await asyncio.sleep(max(0.0, due - now))

    def ended(self, seconds: float) -> None:
        """The segment lasted ``seconds``; the next one is due after it, or at once when live."""
        if self._origin is not None:
            self._origin = max(self._origin + seconds, time.monotonic() - seconds) if self._recorded else None
