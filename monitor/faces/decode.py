"""Decodes the wanted pictures of an EncodedFrame, each time with a fresh decoder.

A fresh decoder costs no more than a kept one, leaves nothing behind of hostile data, and lets workers take the
frames of any stream in any order.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

import av
import av.error
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from monitor.errors import FrameLossReason, FrameLost
from monitor.faces.images import MOST_PIXELS
from monitor.streams.packet import EncodedFrame

# Pixel formats of eight bits whose first plane is the luma.
_LUMA_FIRST = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p")


class Picture:
    """One decoded picture. It is converted to colours only when those are asked for: one that shows what the last
    one did is never looked at."""

    __slots__ = ("_pixels", "_reformatter", "_shown", "pts")

    def __init__(self, shown: VideoFrame, reformatter: VideoReformatter) -> None:
        self.pts = shown.pts or 0
        """Presentation time in ticks of its stream."""
        self._shown = shown
        self._reformatter = reformatter
        self._pixels: NDArray[np.uint8] | None = None

    @property
    def luma(self) -> NDArray[np.uint8]:
        """Shape (H, W): how bright each pixel is, in the range that the stream uses.

        :raises FrameLost: ``UNDECODABLE``, if libav cannot convert it.
        """
        shown = self._shown
        if shown.format.name not in _LUMA_FIRST:
            return self._converted("gray")
        plane = shown.planes[0]
        rows: NDArray[np.uint8] = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        return rows[: shown.height, : shown.width]

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Shape (H, W, 3), BGR.

        :raises FrameLost: ``UNDECODABLE``, if libav cannot convert it.
        """
        if self._pixels is None:
            self._pixels = self._converted("bgr24")
        return self._pixels

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self._shown.width, self._shown.height

    def _converted(self, form: str) -> NDArray[np.uint8]:
        try:
            pixels = self._reformatter.reformat(self._shown, format=form).to_ndarray()
        except (av.error.FFmpegError, ValueError, MemoryError) as error:
            raise FrameLost(FrameLossReason.UNDECODABLE, f"{self._shown.format.name}: {error}") from error
        return np.ascontiguousarray(pixels, dtype=np.uint8)


class Timed(Protocol):
    """A decoded picture that knows its presentation time."""

    @property
    def pts(self) -> int | None: ...


_Shown = TypeVar("_Shown", bound=Timed)


class Decoder:
    """Decodes EncodedFrames; holds only the colour converter."""

    def __init__(self) -> None:
        # Each converter keeps up to 15 MB: one for the process.
        self._reformatter = VideoReformatter()

    def pictures(self, frame: EncodedFrame) -> Iterator[Picture | None]:
        """The picture nearest to each wanted instant of ``frame``, in order; None where there is none.

        An instant farther from every picture than the widest gap between two packets has none.

        :raises FrameLost: ``UNDECODABLE``, if libav refuses the data before the first wanted picture.
        """
        reach = widest_gap([packet.pts for packet in frame.packets])
        given = 0
        try:
            for shown in nearest(_decoded(frame), frame.instants, reach):
                given += shown is not None
                yield None if shown is None else Picture(shown, self._reformatter)
        except (av.error.FFmpegError, ValueError, MemoryError) as error:
            if not given:
                raise FrameLost(FrameLossReason.UNDECODABLE, f"{frame.format.codec}: {error}") from error


def nearest(shown: Iterable[_Shown], instants: Sequence[int], reach: int | None = None) -> Iterator[_Shown | None]:
    """For each of ``instants`` (ascending) the nearest of ``shown`` (ascending presentation times).

    Holds at most two pictures, and stops reading ``shown`` once the last instant is served.

    :param reach: farthest distance in ticks; beyond it an instant gets None.
    """
    pictures = (picture for picture in shown if picture.pts is not None)
    before: _Shown | None = None
    after = next(pictures, None)
    for instant in instants:
        while after is not None and _pts(after) < instant:
            before, after = after, next(pictures, None)
        candidates = [picture for picture in (before, after) if picture is not None]
        best = min(candidates, key=lambda picture: abs(_pts(picture) - instant), default=None)
        within = best is not None and (reach is None or abs(_pts(best) - instant) <= reach)
        yield best if within else None


def widest_gap(times: Sequence[int]) -> int | None:
    """The largest distance between neighbours in time; None for a single packet, whose picture is meant anyway."""
    ordered = sorted(times)
    return max((later - earlier for earlier, later in itertools.pairwise(ordered)), default=None)


def _decoded(frame: EncodedFrame) -> Iterator[VideoFrame]:
    """All pictures of ``frame`` in presentation order."""
    codec = av.CodecContext.create(frame.format.codec, "r")
    if not isinstance(codec, VideoCodecContext):
        raise FrameLost(FrameLossReason.UNDECODABLE, f"{frame.format.codec} is not a video codec")
    codec.extradata = frame.format.extradata
    codec.thread_count = 1
    # Frame threads have deadlocked, and a worker has one core.
    codec.thread_type = "NONE"
    codec.options = {"max_pixels": str(MOST_PIXELS)}
    for packet in frame.packets:
        encoded = av.Packet(packet.data)
        encoded.pts, encoded.dts, encoded.time_base = packet.pts, packet.dts, frame.format.time_base
        encoded.is_keyframe = packet.is_keyframe
        yield from codec.decode(encoded)
    yield from codec.decode(None)


def _pts(picture: Timed) -> int:
    return picture.pts or 0
