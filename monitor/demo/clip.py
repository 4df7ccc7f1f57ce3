"""A short encoded video: how it is written, and how it is read back as packets to be sent."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from monitor.errors import MonitorError

Picture = NDArray[np.uint8]
"""Shape (height, width, 3), BGR."""

WIDTH = 640
HEIGHT = 360
FPS = 15
GOP_S = 2
"""Seconds from keyframe to keyframe: every keyframe stands at a whole multiple of it."""
BIT_RATE = 500_000
SECONDS = 12.0
"""How long a clip lasts unless its maker is told otherwise."""

_X264 = {
    "preset": "veryfast",
    "profile": "main",
    "bf": "2",
    "sc_threshold": "0",
    "maxrate": str(BIT_RATE),
    "bufsize": str(BIT_RATE),
    "x264-params": f"keyint={GOP_S * FPS}:min-keyint={GOP_S * FPS}:scenecut=0:open-gop=0",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPacket:
    """One encoded picture of a clip."""

    data: bytes = field(repr=False)
    pts: int
    """Presentation time in ticks of the clip's ``time_base``; the clip's first picture has 0."""
    dts: int
    """Decoding time; negative for the first packets, because pictures are reordered."""
    is_keyframe: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """An encoded clip in memory. It starts with a keyframe and can be repeated without a gap."""

    time_base: Fraction
    """Seconds per tick."""
    duration: int
    """Ticks from the first picture to where the next repetition's first picture belongs."""
    packets: tuple[ClipPacket, ...] = field(repr=False)
    """In decoding order."""
    template: bytes = field(repr=False)
    """The clip as an MP4 file, of which remuxing takes the stream's parameters."""

    @property
    def duration_s(self) -> float:
        """Seconds that one repetition lasts."""
        return float(self.duration * self.time_base)

    def sent_at_s(self, index: int) -> float:
        """Seconds into a repetition at which a live encoder would send the packet at ``index``; not negative."""
        return float((self.packets[index].dts - self.packets[0].dts) * self.time_base)

    def segments(self) -> tuple[tuple[ClipPacket, ...], ...]:
        """The packets cut before every keyframe."""
        starts = [index for index, packet in enumerate(self.packets) if packet.is_keyframe]
        return tuple(self.packets[a:b] for a, b in zip(starts, [*starts[1:], len(self.packets)], strict=True))


def write_clip(path: Path, pictures: Iterable[Picture]) -> None:
    """Encode pictures (BGR, uint8, 360 x 640 x 3) at 15 a second into an MP4 file.

    H.264 at 500 kbit/s with a keyframe every 2 s and nowhere else. The file appears only when it is
    complete: it is written beside ``path`` and renamed.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with av.open(str(partial), "w", format="mp4") as output:
            _encode(output, pictures)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _encode(output: OutputContainer, pictures: Iterable[Picture]) -> None:
    stream = output.add_stream("libx264", rate=FPS, options=_X264)
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    stream.bit_rate, stream.gop_size = BIT_RATE, GOP_S * FPS
    stream.codec_context.thread_count = 1
    for index, picture in enumerate(pictures):
        if picture.shape != (HEIGHT, WIDTH, 3) or picture.dtype != np.uint8:
            raise ValueError(f"picture is {picture.dtype} {picture.shape}, expected uint8 {(HEIGHT, WIDTH, 3)}")
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts, frame.time_base = index, Fraction(1, FPS)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def load_clip(path: Path) -> Clip:
    """Read a clip that :func:`write_clip` wrote.

    :raises MonitorError: when it cannot be read.
    """
    try:
        data = path.read_bytes()
        with av.open(io.BytesIO(data), "r") as container:
            stream = container.streams.video[0]
            packets = tuple(
                ClipPacket(data=bytes(packet), pts=packet.pts, dts=packet.dts, is_keyframe=packet.is_keyframe)
                for packet in container.demux(stream)
                if packet.size and packet.pts is not None and packet.dts is not None
            )
            time_base, rate = stream.time_base, stream.average_rate
    except (OSError, av.error.FFmpegError, IndexError) as err:
        raise MonitorError(f"{path}: not a video clip: {err}") from err
    if not packets or time_base is None or rate is None:
        raise MonitorError(f"{path}: not a video clip: it holds no pictures")
    duration = round(len(packets) / rate / time_base)
    return Clip(time_base=time_base, duration=duration, packets=packets, template=data)


def add_clip_stream(output: OutputContainer, clip: Clip) -> VideoStream:
    """A stream in ``output`` with the clip's codec parameters, ready for :func:`mux_packets`."""
    with av.open(io.BytesIO(clip.template), "r") as container:
        return output.add_stream_from_template(container.streams.video[0])


def mux_packets(
    output: OutputContainer, stream: VideoStream, clip: Clip, packets: Sequence[ClipPacket], shift: int
) -> None:
    """Write ``packets`` into ``stream``, all times moved by ``shift`` ticks of the clip's time base."""
    for source in packets:
        packet = av.Packet(source.data)
        packet.time_base = clip.time_base
        packet.pts, packet.dts = source.pts + shift, source.dts + shift
        packet.is_keyframe = source.is_keyframe
        packet.stream = stream
        output.mux(packet)
