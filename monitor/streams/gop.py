"""Lossless sampling of recordings: every GOP is cut so that a picture falls every ``interval_s``."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import av.error

from monitor.clock import Clock, SystemClock
from monitor.errors import StreamError, StreamReason
from monitor.streams.file import open_file
from monitor.streams.libav import PacketReader, best_video, video_format
from monitor.streams.packet import EncodedFrame, Packet, Source, VideoFormat
from monitor.streams.ring import Gop

# A GOP of more than this is not held: instants beyond it, up to the next keyframe, are left out and counted.
MOST_PACKETS = 300
MOST_BYTES = 16_000_000
_ROOM = 4

Skipped = Callable[[int], None]


class GopCutter:
    """Collects packets and gives out one EncodedFrame for each GOP that holds a wanted instant.

    The first keyframe of an epoch is wanted, and then a picture every ``interval_s``.
    """

    def __init__(self, interval_s: float, stream_id: str, skipped: Skipped | None = None) -> None:
        if interval_s <= 0:
            raise ValueError(f"interval_s is {interval_s}, it must be above 0")
        self._interval_s = interval_s
        self._stream_id = stream_id
        self._skipped = skipped
        self._format: VideoFormat | None = None
        self._epoch = 0
        self._gop: Gop | None = None
        self._held_back = False
        self._wanted: float | None = None

    def begin(self, video: VideoFormat) -> list[EncodedFrame]:
        """A new epoch; the rest of the old one."""
        rest = self.finish()
        self._format = video
        self._epoch += 1
        self._wanted = None
        return rest

    def push(self, packet: Packet) -> list[EncodedFrame]:
        """Add the next packet; the GOP that it ended, if that held a wanted instant."""
        out: list[EncodedFrame] = []
        if packet.is_keyframe:
            out = self._cut(packet.pts - 1)
            self._gop = Gop()
            self._held_back = False
            if self._wanted is None:
                self._wanted = packet.pts * self._tick_s
        elif self._gop is None or self._held_back:
            return out
        self._gop.add(packet)
        if len(self._gop.packets) >= MOST_PACKETS or self._gop.size >= MOST_BYTES:
            out += self._cut(max(held.dts for held in self._gop.packets))
            self._held_back = True
        return out

    def finish(self) -> list[EncodedFrame]:
        """The end of the stream: what the last GOP holds."""
        out = self._cut(max(held.pts for held in self._gop.packets)) if self._gop else []
        self._gop = None
        return out

    @property
    def _tick_s(self) -> float:
        if self._format is None:
            raise RuntimeError("packets were pushed before begin")
        return float(self._format.time_base)

    def _cut(self, until: int) -> list[EncodedFrame]:
        """The GOP held so far with every wanted instant up to ``until`` (ticks); moves the wanted time on."""
        if self._gop is None or self._format is None or self._wanted is None:
            return []
        instants: list[int] = []
        while (tick := round(self._wanted / self._tick_s)) <= until:
            instants.append(max(tick, self._gop.start))
            self._wanted += self._interval_s
        if self._held_back:
            if instants and self._skipped is not None:
                self._skipped(len(instants))
            return []
        if not instants:
            return []
        packets, shown = self._gop.cut(instants)
        return [
            EncodedFrame(
                stream_id=self._stream_id, epoch=self._epoch, format=self._format, packets=packets, instants=shown
            )
        ]


def iter_file(
    path: Path,
    interval_s: float,
    *,
    stream_id: str = "",
    clock: Clock | None = None,
    skipped: Skipped | None = None,
) -> Iterator[EncodedFrame]:
    """A picture of the file every ``interval_s`` (stream seconds), none left out that can be had.

    Blocks: meant for a thread. ``skipped`` is told how many instants lay too deep in an over-long GOP.

    :raises StreamError: FILE_MISSING, EMPTY_FILE, NO_VIDEO, or BAD_DATA, also for a file that breaks off in a way
        that libav notices; what came before is given out first.
    """
    cutter = GopCutter(interval_s, stream_id, skipped)
    reader = PacketReader(clock or SystemClock())
    with open_file(path) as container:
        stream = best_video(container)
        if stream is None:
            raise StreamError(StreamReason.NO_VIDEO, f"{path.name} has no video", retryable=False)
        cutter.begin(video_format(stream))
        try:
            for raw in container.demux(stream):
                if (packet := reader.convert(raw)) is not None:
                    yield from cutter.push(packet)
        except (av.error.FFmpegError, OSError) as err:
            yield from cutter.finish()
            raise StreamError(StreamReason.BAD_DATA, f"{path.name} breaks off", retryable=False) from err
        yield from cutter.finish()


class _Queue:
    """A PacketSink between a source and a slower reader; a recording waits for room, a live stream loses the oldest."""

    def __init__(self, cutter: GopCutter, skipped: Skipped | None) -> None:
        self._cutter = cutter
        self._skipped = skipped
        self._frames: deque[EncodedFrame] = deque()
        self._changed = asyncio.Event()
        self._closed = False

    def begin(self, video: VideoFormat) -> None:
        self._put(self._cutter.begin(video))

    def push(self, packets: Sequence[Packet], received_bytes: int) -> None:
        for packet in packets:
            self._put(self._cutter.push(packet))

    async def drained(self) -> None:
        while len(self._frames) >= _ROOM and not self._closed:
            await self._wait()

    def close(self) -> None:
        """The source is done."""
        self._put(self._cutter.finish())
        self._closed = True
        self._notify()

    async def get(self) -> EncodedFrame | None:
        """The next frame; None after the last."""
        while not self._frames and not self._closed:
            await self._wait()
        frame = self._frames.popleft() if self._frames else None
        self._notify()
        return frame

    def _put(self, frames: list[EncodedFrame]) -> None:
        self._frames.extend(frames)
        while len(self._frames) > 8 * _ROOM:
            lost = self._frames.popleft()
            if self._skipped is not None:
                self._skipped(len(lost.instants))
        if frames:
            self._notify()

    async def _wait(self) -> None:
        # An event of its own for each round: the reader and the source may both be waiting.
        await self._changed.wait()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


async def iter_source(
    source: Source, interval_s: float, *, stream_id: str = "", skipped: Skipped | None = None
) -> AsyncGenerator[EncodedFrame, None]:
    """A picture every ``interval_s`` of what ``source`` reads, until it ends; a recording is read no faster than
    it is taken from here (use a source that is not paced). Close the iterator to stop reading.

    :raises StreamError: why the source failed, after what it gave before.
    """
    queue = _Queue(GopCutter(interval_s, stream_id, skipped), skipped)
    reading = asyncio.create_task(source.run(queue), name="scan-source")
    reading.add_done_callback(lambda _: queue.close())
    try:
        while (frame := await queue.get()) is not None:
            yield frame
        await reading
    finally:
        reading.cancel()
        with suppress(asyncio.CancelledError, StreamError):
            await reading
