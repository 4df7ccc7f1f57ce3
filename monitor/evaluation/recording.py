"""Encodes transformed shots as the H.264 that a room would send, and shows single pictures of it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream

from monitor.errors import MonitorError
from monitor.evaluation.catalogue import Transformation
from monitor.evaluation.shot import Shot
from monitor.evaluation.studio import FPS

GOP_S = 2
"""Seconds from keyframe to keyframe."""

RATED_FPS = 25
"""Bit rates are those of a room that sends so many pictures a second; a recording has fewer, and as many bits each."""

_SHOWN_WIDTH = 400
_JPEG_QUALITY = 80


def transformed(shots: Sequence[Shot], transformation: Transformation) -> Iterable[Shot]:
    """The recording after the transformation, picture by picture."""
    count = int(len(shots) / transformation.speed)
    return (transformation.apply(shots[int(index * transformation.speed)]) for index in range(count))


def write_recording(path: Path, shots: Iterable[Shot], bit_rate: int) -> None:
    """Write an MP4 file: H.264 main profile, ``FPS`` pictures a second.

    The first shot gives the size.

    :param bit_rate: bits a second at most, had it ``RATED_FPS`` pictures a second.
    """
    rate = bit_rate * FPS // RATED_FPS
    with av.open(str(path), "w", format="mp4") as output:
        stream: VideoStream | None = None
        for index, shot in enumerate(shots):
            stream = stream or _stream(output, shot, rate)
            frame = av.VideoFrame.from_ndarray(shot.picture, format="bgr24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            output.mux(stream.encode(frame))
        if stream is None:
            raise ValueError("a recording needs at least one shot")
        output.mux(stream.encode(None))


def _stream(output: OutputContainer, shot: Shot, bit_rate: int) -> VideoStream:
    gop = GOP_S * FPS
    options = {
        "preset": "veryfast",
        "profile": "main",
        "bf": "2",
        "maxrate": str(bit_rate),
        "bufsize": str(bit_rate),
        "x264-params": f"keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0",
    }
    stream = output.add_stream("libx264", rate=FPS, options=options)
    stream.width, stream.height, stream.pix_fmt = shot.width, shot.height, "yuv420p"
    stream.bit_rate, stream.gop_size = bit_rate, gop
    stream.codec_context.thread_count = 1
    return stream


def middle_picture(path: Path) -> bytes:
    """The picture in the middle of a recording, as it comes out of the decoder: a small JPEG file.

    :raises MonitorError: the file is not a recording.
    """
    try:
        with av.open(io.BytesIO(path.read_bytes()), "r") as container:
            frames = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    except (OSError, av.error.FFmpegError) as err:
        raise MonitorError(f"{path.name}: cannot be read back: {err}") from err
    picture = frames[len(frames) // 2]
    scale = min(1.0, _SHOWN_WIDTH / picture.shape[1])
    shown = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return np.asarray(data, np.uint8).tobytes()
