"""The last seconds of a stream, encoded: denser samples and evidence are cut from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from monitor.streams.packet import EncodedFrame, Packet, VideoFormat

# The GOP that is still growing may be longer than the ring: without it nothing after its keyframe can be decoded.
_MOST_RUNNING_S = 60.0


@dataclass(slots=True)
class Gop:
    """A keyframe (or a recovery point) and the packets up to the next one, in decoding order."""

    packets: list[Packet] = field(default_factory=list)
    size: int = 0
    """Bytes of all packets."""

    def add(self, packet: Packet) -> None:
        """Append the next packet."""
        self.packets.append(packet)
        self.size += len(packet.data)

    @property
    def start(self) -> int:
        """Presentation time of the keyframe, in ticks."""
        return self.packets[0].pts

    @property
    def is_whole(self) -> bool:
        """Whether all of its pictures can be decoded: it starts with a keyframe."""
        return self.packets[0].is_keyframe

    def cut(self, instants: Sequence[int]) -> tuple[tuple[Packet, ...], tuple[int, ...]]:
        """The shortest prefix that shows the pictures on screen at ``instants`` (ticks, ascending, none before
        ``start``), and the presentation times of those pictures, each once."""
        shown = {max(packet.pts for packet in self.packets if packet.pts <= instant) for instant in instants}
        # What a picture refers to stands before it in decoding order, so nothing after the last wanted one is needed.
        end = max(index for index, packet in enumerate(self.packets) if packet.pts in shown)
        return tuple(self.packets[: end + 1]), tuple(sorted(shown))


class PacketRing:
    """Whole GOPs, the newest ``max_s`` seconds of them and never more than ``max_bytes``.

    It starts at a keyframe (at a recovery point while the stream has no keyframes). A single GOP may last longer
    than ``max_s``, up to a minute; one that outgrows that or the bytes is given up, and the ring is empty until
    the next keyframe. With ``max_s`` 0 it holds the newest keyframe alone. Used on the event loop's thread only.
    """

    def __init__(self, max_bytes: int, max_s: float, stream_id: str = "") -> None:
        self._max_bytes = max_bytes
        self._max_s = max_s
        self._stream_id = stream_id
        self._format: VideoFormat | None = None
        # A Fraction costs microseconds for each packet.
        self._tick_s = 0.0
        self._gops: deque[Gop] = deque()
        self._size = 0
        self._newest = 0
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """Counts connections and discontinuities; stream times compare only within one."""
        return self._epoch

    @property
    def format(self) -> VideoFormat | None:
        """The format of the packets; None before the first ``begin``."""
        return self._format

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._size

    @property
    def seconds(self) -> float:
        """Stream seconds held."""
        return self._seconds(max(0, self._newest - self._gops[0].start)) if self._gops else 0.0

    @property
    def oldest_time(self) -> float | None:
        """Stream seconds of the oldest picture that can be decoded; None while there is none."""
        return next((self._seconds(gop.start) for gop in self._gops if gop.is_whole), None)

    @property
    def newest_time(self) -> float | None:
        """Stream seconds up to which every picture is held; None while the ring is empty."""
        return self._seconds(self._newest) if self.oldest_time is not None else None

    def begin(self, video: VideoFormat) -> None:
        """Start a new epoch with an empty ring."""
        self._format = video
        self._tick_s = float(video.time_base)
        self._epoch += 1
        self._clear()

    def replace(self, packets: Sequence[Packet]) -> None:
        """Hold ``packets`` of the same epoch, from a keyframe on, instead of what is held."""
        self._clear()
        self.push(packets)

    def push(self, packets: Sequence[Packet]) -> None:
        """Add packets in decoding order; those before the first keyframe are left out."""
        for packet in packets:
            if packet.is_keyframe and not self._max_s:
                self._clear()
            if packet.is_keyframe or (packet.is_recovery_point and self._max_s):
                self._gops.append(Gop())
            elif not self._gops or not self._max_s:
                continue
            self._gops[-1].add(packet)
            self._size += len(packet.data)
            # A keyframe is complete by itself, the pictures after it up to the newest decoding time.
            self._newest = packet.pts if packet.is_keyframe else max(self._newest, packet.dts)
            span_s = (self._newest - self._gops[0].packets[0].pts) * self._tick_s
            if self._size > self._max_bytes or span_s > self._max_s:
                self._trim()

    def keyframe(self) -> EncodedFrame | None:
        """The newest keyframe; None while the ring is empty."""
        if not self._gops or not self._gops[-1].is_whole:
            return None
        packet = self._gops[-1].packets[0]
        return self._frame((packet,), (packet.pts,))

    def newest_picture(self) -> EncodedFrame | None:
        """The newest picture with all packets that lead up to it, however many; None while the ring is empty.

        Where a stream has recovery points instead of keyframes, those since the last but one: the picture is
        whole once a full wave of refreshed blocks has passed.
        """
        if not self._gops:
            return None
        if self._gops[-1].is_whole:
            return self._frame(*self._gops[-1].cut([max(self._newest, self._gops[-1].start)]))
        led_up = [packet for gop in list(self._gops)[-2:] for packet in gop.packets]
        shown = max(packet.pts for packet in led_up if packet.pts <= max(self._newest, led_up[0].pts))
        return self._frame(tuple(led_up), (shown,))

    def frames_at(self, times: Sequence[float]) -> list[EncodedFrame]:
        """The pictures on screen at ``times`` (stream seconds), oldest first, one EncodedFrame for each GOP that
        holds any; times outside the ring are skipped."""
        if not self._gops or self._format is None:
            return []
        ticks = sorted(round(time / self._format.time_base) for time in times)
        starts = [gop.start for gop in self._gops] + [self._newest + 1]
        frames = []
        for gop, start, end in zip(self._gops, starts, starts[1:], strict=False):
            inside = [tick for tick in ticks if start <= tick < end]
            if inside and gop.is_whole:
                frames.append(self._frame(*gop.cut(inside)))
        return frames

    def _frame(self, packets: tuple[Packet, ...], instants: tuple[int, ...]) -> EncodedFrame:
        if self._format is None:
            raise RuntimeError("the ring has packets but no format")
        return EncodedFrame(
            stream_id=self._stream_id, epoch=self._epoch, format=self._format, packets=packets, instants=instants
        )

    def _seconds(self, ticks: int) -> float:
        return ticks * self._tick_s

    def _trim(self) -> None:
        while self._gops and (self._size > self._max_bytes or self.seconds > self._most_s()):
            self._size -= self._gops.popleft().size

    def _most_s(self) -> float:
        needed = 1 if self._gops[-1].is_whole else 2
        return self._max_s if len(self._gops) > needed else max(self._max_s, _MOST_RUNNING_S)

    def _clear(self) -> None:
        self._gops.clear()
        self._size = 0
        self._newest = 0
