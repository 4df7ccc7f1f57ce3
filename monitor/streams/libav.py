"""Demuxing with libav: one thread for each reading, which alone touches its container.

The event loop's side is :class:`LibavReading`; what runs in the thread says so. The one seam between them is
``loop.call_soon_threadsafe``. A container is never closed beside a blocked read: cancelling sets a flag, and
the thread finds it at the latest when its read times out. libav opens no connection of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any, Protocol

import av
import av.error
from av.container import InputContainer
from av.packet import Packet as AvPacket
from av.stream import Discard
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from monitor.clock import Clock
from monitor.errors import StreamError, StreamReason
from monitor.redact import redact_text
from monitor.streams.libav_limits import MOST_STREAMS
from monitor.streams.packet import Packet, PacketSink, VideoFormat

# Containers only: a "video" that is really a playlist, a concat list or an SDP could name further addresses.
CONTAINERS = "flv,live_flv,mpegts,mov,mp4,matroska,webm,avi,mpeg,ogg,asf"
# libav waits for what a container announces, whether or not it comes, for as long as it may. So the first look is
# short, and only if it shows no picture there is a long one.
FIRST_PROBE_S = 0.5
_FLUSH_S = 0.1
_LEAVE_S = 1.0
_FALLBACK_STEP_S = 0.04
# Time stamps that are further off than this jumped: the pace starts anew.
_RESYNC_S = 10.0

_REASONS: tuple[tuple[type[BaseException], StreamReason, str], ...] = (
    (av.error.EOFError, StreamReason.CLOSED_BY_PEER, "the server hung up"),
    (av.error.FileNotFoundError, StreamReason.FILE_MISSING, "no such file"),
    (av.error.InvalidDataError, StreamReason.BAD_DATA, "not a video that can be read"),
)


def av_options(probe_s: float, protocols: str) -> dict[str, str]:
    """FFmpeg's options for a live input: known containers and protocols only, no waiting for a frame rate."""
    return {
        "protocol_whitelist": protocols,
        "format_whitelist": CONTAINERS,
        "analyzeduration": str(round(probe_s * 1_000_000)),
        "fpsprobesize": "0",
        "max_streams": MOST_STREAMS,
    }


class Input(Protocol):
    """What a reading opens. Called in the reading's thread."""

    live: bool
    """Whether the end of the data means that the peer hung up, not that the recording is over."""
    paced: bool
    """Whether packets are held back until their time, as in the daemon; else only until the sink has room."""

    def open(self, probe_s: float) -> InputContainer:
        """Open anew, looking at no more than ``probe_s`` seconds of it.

        :raises StreamError: the reason.
        """

    def expect_packet(self) -> None:
        """The next packet is asked for now: its read deadline starts."""

    def abort(self) -> None:
        """The run was cancelled: let go of what ``open`` or a read waits for, where that can be done safely.

        Called on the loop's thread.
        """


def translate(err: Exception, *, opening: bool) -> StreamError:
    """libav's error as a StreamError; what FFmpeg wrote holds the address, so it is not repeated whole."""
    if isinstance(err, StreamError):
        return err
    for kind, reason, detail in _REASONS:
        if isinstance(err, kind):
            return StreamError(reason, detail, retryable=reason is not StreamReason.FILE_MISSING)
    if isinstance(err, OSError | av.error.FFmpegError):
        reason = StreamReason.BAD_DATA if opening else StreamReason.CLOSED_BY_PEER
        return StreamError(reason, redact_text(getattr(err, "strerror", None) or type(err).__name__))
    return StreamError(StreamReason.BAD_DATA, type(err).__name__)


def video_format(stream: VideoStream) -> VideoFormat:
    """What a decoder needs of ``stream``.

    :raises StreamError: UNSUPPORTED for a codec that this build of FFmpeg cannot decode.
    """
    context = stream.codec_context
    if context is None or stream.time_base is None:
        raise StreamError(StreamReason.UNSUPPORTED, "the video's codec is unknown", retryable=False)
    return VideoFormat(
        codec=context.name,
        extradata=bytes(context.extradata) if context.extradata else None,
        width=context.width,
        height=context.height,
        time_base=stream.time_base,
    )


@dataclass(slots=True)
class PacketReader:
    """Turns libav's packets into ours; fills in time stamps that a container leaves out."""

    clock: Clock
    _last_dts: int | None = None
    _last_step: int = 0

    def convert(self, packet: AvPacket[Any]) -> Packet | None:
        """The packet, or None for an empty one (libav's mark of the end)."""
        if not packet.size:
            return None
        dts = packet.dts if packet.dts is not None else packet.pts
        if dts is None:
            dts = 0 if self._last_dts is None else self._last_dts + self._step(packet)
        if self._last_dts is not None and dts > self._last_dts:
            self._last_step = dts - self._last_dts
        self._last_dts = dts
        return Packet(
            data=bytes(packet),
            pts=packet.pts if packet.pts is not None else dts,
            dts=dts,
            is_keyframe=packet.is_keyframe,
            received_at=self.clock.utc(),
        )

    def _step(self, packet: AvPacket[Any]) -> int:
        if packet.duration:
            return int(packet.duration)
        if self._last_step or packet.time_base is None:
            return self._last_step or 1
        return max(1, round(_FALLBACK_STEP_S / packet.time_base))


def best_video(container: InputContainer) -> VideoStream | None:
    """The video stream to watch: the largest picture; cover art is none."""
    streams = [stream for stream in container.streams.video if "attached_pic" not in str(stream.disposition)]
    return max(streams, key=_area, default=None)


def _area(stream: VideoStream) -> int:
    """Pixels of a picture; 0 for a codec that libav does not know, which has no width to ask for."""
    context: VideoCodecContext | None = stream.codec_context
    return context.width * context.height if context else 0


@dataclass(slots=True)
class LibavReading:
    """One run over an Input, from opening to its end."""

    input: Input
    clock: Clock
    first_probe_s: float
    """How long to look at first; a room with sound and picture may need longer, one without sound must not."""
    full_probe_s: float
    """How long to look for a picture where the first look found only sound."""
    keyframes_only: bool = False
    """Drop all other pictures inside libav: they cost a third of the demuxing, and memory."""
    _stop: threading.Event = field(default_factory=threading.Event)

    async def run(self, sink: PacketSink) -> None:
        """Read to the end.

        :raises StreamError: the reason. After a cancellation the thread is waited for only briefly.
        """
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[StreamError | None] = loop.create_future()

        def finish(error: StreamError | None) -> None:
            if not ended.done():
                ended.set_result(error)

        # A daemon thread: one that is blocked in a read must not hold up the end of the process.
        threading.Thread(target=self._thread, args=(loop, sink, finish), name="libav", daemon=True).start()
        try:
            error = await asyncio.shield(ended)
        finally:
            self._stop.set()
            if not ended.done():
                self.input.abort()
                await asyncio.wait({ended}, timeout=_LEAVE_S)
        if error is not None:
            raise error

    # All below runs in the thread.

    def _thread(
        self, loop: asyncio.AbstractEventLoop, sink: PacketSink, finish: Callable[[StreamError | None], None]
    ) -> None:
        error: StreamError | None = None
        try:
            self._read(loop, sink)
        # Top of a thread: whatever libav or a broken container throws becomes this stream's reason.
        except Exception as err:  # noqa: BLE001
            error = translate(err, opening=False)
            error.__cause__ = err
        with contextlib.suppress(RuntimeError):  # The loop may be gone already.
            loop.call_soon_threadsafe(finish, error)

    def _read(self, loop: asyncio.AbstractEventLoop, sink: PacketSink) -> None:
        container, stream = self._open()
        with container:
            has_end = not self.input.live or bool(container.duration)
            seam = _Seam(loop, sink, self._stop)
            seam.begin(video_format(stream))
            hold = _Hold(loop, sink, self._stop, float(stream.time_base or 0)) if has_end else None
            reader = PacketReader(self.clock)
            for packet in self._packets(container, stream, reader):
                if hold is not None:
                    hold.until_due(packet, seam, paced=self.input.paced)
                seam.add(packet)
            seam.flush()
            if not has_end and not self._stop.is_set():
                raise StreamError(StreamReason.CLOSED_BY_PEER, "the server ended the connection")

    def _open(self) -> tuple[InputContainer, VideoStream]:
        for probe_s in (self.first_probe_s, self.full_probe_s):
            try:
                container = self.input.open(probe_s)
            except (av.error.FFmpegError, OSError, ValueError) as err:
                raise translate(err, opening=True) from err
            stream = best_video(container)
            if stream is not None:
                # Dropped inside libav: sound costs no Python, and does not put off the read timeout either.
                for other in container.streams:
                    if other.index != stream.index:
                        other.discard = Discard.all
                if self.keyframes_only:
                    stream.discard = Discard.nonkey
                return container, stream
            container.close()
            if self._stop.is_set():
                break
        raise StreamError(StreamReason.NO_VIDEO, "no video among what the stream carries")

    def _packets(self, container: InputContainer, stream: VideoStream, reader: PacketReader) -> Iterator[Packet]:
        """The video's packets, until the end or the flag; all else was told to be discarded inside libav."""
        self.input.expect_packet()
        for raw in container.demux():
            if self._stop.is_set():
                return
            packet = reader.convert(raw) if raw.stream_index == stream.index else None
            if packet is not None:
                yield packet
                self.input.expect_packet()


class _Seam:
    """Hands packets to the loop in small batches; a keyframe goes at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sink: PacketSink, stop: threading.Event) -> None:
        self._loop = loop
        self._sink = sink
        self._stop = stop
        self._batch: list[Packet] = []
        self._flushed_at = time.monotonic()

    def begin(self, video: VideoFormat) -> None:
        self._call(lambda: self._sink.begin(video))

    def add(self, packet: Packet) -> None:
        self._batch.append(packet)
        if packet.is_keyframe or time.monotonic() - self._flushed_at >= _FLUSH_S:
            self.flush()

    def flush(self) -> None:
        if self._batch:
            batch, self._batch = self._batch, []
            size = sum(len(packet.data) for packet in batch)
            self._call(lambda: self._sink.push(batch, size))
        self._flushed_at = time.monotonic()

    def _call(self, action: Callable[[], None]) -> None:
        # Asked on the loop: a run that was cancelled must not reach the sink of the next one.
        self._loop.call_soon_threadsafe(lambda: None if self._stop.is_set() else action())


class _Hold:
    """Holds a recording's packets back: until their time, or until the sink has room."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sink: PacketSink, stop: threading.Event, tick_s: float) -> None:
        self._loop = loop
        self._sink = sink
        self._stop = stop
        self._tick_s = tick_s
        self._origin: float | None = None

    def until_due(self, packet: Packet, seam: _Seam, *, paced: bool) -> None:
        if paced:
            self._until_time(packet, seam)
        elif packet.is_keyframe:
            seam.flush()
            self._until_drained()

    def _until_time(self, packet: Packet, seam: _Seam) -> None:
        now = time.monotonic()
        position = packet.dts * self._tick_s
        if self._origin is None or abs(self._origin + position - now) > _RESYNC_S:
            self._origin = now - position
        ahead = self._origin + position - now
        if ahead > _FLUSH_S:
            seam.flush()
        if ahead > 0:
            self._stop.wait(ahead)

    def _until_drained(self) -> None:
        room: Future[None] = asyncio.run_coroutine_threadsafe(_drained(self._sink), self._loop)
        while not self._stop.is_set():
            if wait({room}, timeout=_FLUSH_S).done:
                return
        room.cancel()


async def _drained(sink: PacketSink) -> None:
    await sink.drained()
