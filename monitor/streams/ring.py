"""The last seconds of a stream, encoded: denser samples and evidence are cut from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from monitor.streams.packet import EncodedFrame, Packet, VideoFormat


@dataclass(slots=True)
class Gop:
    """A keyframe and the packets up to the next one, in decoding order."""

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

    def cut(self, instants: Sequence[int]) -> tuple[tuple[Packet, ...], tuple[int, ...]]:
        """The shortest prefix that shows the pictures on screen at ``instants`` (ticks, ascending, none before
        ``start``), and the presentation times of those pictures, each once."""
        shown = {max(packet.pts for packet in self.packets if packet.pts <= instant) for instant in instants}
        # What a picture refers to stands before it in decoding order, so nothing after the last wanted one is needed.
        end = max(index for index, packet in enumerate(self.packets) if packet.pts in shown)
        return tuple(self.packets[: end + 1]), tuple(sorted(shown))


class PacketRing:
    """Whole GOPs, the newest ``max_s`` seconds of them and never more than ``max_bytes``.

    It starts at a keyframe. A single GOP that outgrows a bound is given up, and the ring is empty until the
    next keyframe. Used on the event loop's thread only.
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
    def oldest_time(self) -> float | None:
        """Stream seconds of the oldest picture; None while the ring is empty."""
        return self._seconds(self._gops[0].start) if self._gops else None

    @property
    def newest_time(self) -> float | None:
        """Stream seconds up to which every picture is held; None while the ring is empty."""
        return self._seconds(self._newest) if self._gops else None

    def begin(self, video: VideoFormat) -> None:
        """Start a new epoch with an empty ring."""
        self._format = video
        self._tick_s = float(video.time_base)
        self._epoch += 1
        self._clear()

    def push(self, packets: Sequence[Packet]) -> None:
        """Add packets in decoding order; those before the first keyframe are left out."""
        for packet in packets:
            if packet.is_keyframe:
                self._gops.append(Gop())
            elif not self._gops:
                continue
            self._gops[-1].add(packet)
            self._size += len(packet.data)
            # A keyframe is complete by itself, the pictures after it up to the newest decoding time.
            self._newest = packet.pts if packet.is_keyframe else max(self._newest, packet.dts)
            self._trim()

    def keyframe(self) -> EncodedFrame | None:
        """The newest keyframe; None while the ring is empty."""
        if not self._gops:
            return None
        packet = self._gops[-1].packets[0]
        return self._frame((packet,), (packet.pts,))

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
            if inside:
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
        while self._gops and (
            self._size > self._max_bytes or self._seconds(self._newest - self._gops[0].start) > self._max_s
        ):
            self._size -= self._gops.popleft().size

    def _clear(self) -> None:
        self._gops.clear()
        self._size = 0
        self._newest = 0
