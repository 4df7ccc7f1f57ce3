"""Makes small real videos with PyAV, and cuts them into HLS segments."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

WIDTH, HEIGHT = 320, 180


def picture(index: int, width: int = WIDTH, height: int = HEIGHT, noise: int = 0) -> np.ndarray:
    """A picture (height, width, 3), RGB, whose bar moves with ``index``; ``noise`` is new in each picture."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, :, 1] = np.linspace(20, 200, width, dtype=np.uint8)
    left = index * 7 % (width - 20)
    image[height // 4 : height // 2, left : left + 20] = (250, 40, 40)
    if noise:
        image += np.random.default_rng(index).integers(0, noise, image.shape, np.uint8)
    return image


def clip_bytes(
    *,
    seconds: float = 4.0,
    fps: int = 10,
    gop: int = 10,
    container: str = "mp4",
    sound: bool = False,
    picture_too: bool = True,
    bframes: int = 0,
    width: int = WIDTH,
    height: int = HEIGHT,
    live: bool = False,
    noise: int = 0,
    refresh: bool = False,
) -> bytes:
    """A clip of H.264 (and AAC) in ``container``; ``gop`` in pictures; with ``refresh`` a wave of intra
    blocks instead of keyframes. A ``live`` FLV does not state its duration."""
    file = io.BytesIO()
    options = {"flvflags": "no_duration_filesize"} if live else {}
    with av.open(file, "w", format=container, options=options) as out:
        video = _add_video(out, fps, gop, bframes, width, height, refresh) if picture_too else None
        audio = out.add_stream("aac", rate=44100, layout="mono") if sound else None
        for index in range(round(seconds * fps)):
            if video is not None:
                frame = av.VideoFrame.from_ndarray(picture(index, width, height, noise), format="rgb24")
                frame.pts = index
                frame.time_base = Fraction(1, fps)
                out.mux(video.encode(frame))
            if audio is not None:
                _mux_sound(out, audio, index, fps)
        for stream in (video, audio):
            if stream is not None:
                out.mux(stream.encode(None))
    return file.getvalue()


def _add_video(
    out: av.container.OutputContainer, fps: int, gop: int, bframes: int, w: int, h: int, refresh: bool
) -> VideoStream:
    stream = out.add_stream("libx264", rate=fps)
    stream.width, stream.height, stream.pix_fmt = w, h, "yuv420p"
    stream.options = {
        "preset": "ultrafast",
        "g": str(gop),
        "keyint_min": str(gop),
        "sc_threshold": "0",
        "bf": str(bframes),
        "x264-params": "scenecut=0:open-gop=0" + (":intra-refresh=1" if refresh else ""),
    }
    return stream


def _mux_sound(out: av.container.OutputContainer, audio: AudioStream, index: int, fps: int) -> None:
    count = 44100 // fps
    tone = np.sin(np.arange(count) / 20, dtype=np.float32)[None] * 0.1
    frame = av.AudioFrame.from_ndarray(tone.astype(np.float32), format="fltp", layout="mono")
    frame.sample_rate = 44100
    frame.pts = index * count
    frame.time_base = Fraction(1, 44100)
    out.mux(audio.encode(frame))


def write_clip(path: Path, **options: object) -> Path:
    """:func:`clip_bytes` written to ``path``; the container follows from the suffix."""
    container = {".ts": "mpegts", ".mkv": "matroska"}.get(path.suffix, path.suffix[1:])
    path.write_bytes(clip_bytes(container=container, **options))  # type: ignore[arg-type]
    return path


def ts_segments(*, seconds: float = 6.0, fps: int = 10, segment_s: float = 1.0, **options: object) -> list[bytes]:
    """MPEG-TS segments of ``segment_s`` each, with time stamps that go on from one to the next."""
    whole = clip_bytes(
        seconds=seconds,
        fps=fps,
        container="mpegts",
        **{"gop": round(segment_s * fps), **options},  # type: ignore[arg-type]
    )
    segments = []
    with av.open(io.BytesIO(whole)) as source:
        stream = source.streams.video[0]
        group: list[av.Packet] = []
        count = 0
        for packet in source.demux(stream):
            if (packet.is_keyframe or not packet.size) and group:
                count += 1
                if not packet.size or packet.pts - group[0].pts >= segment_s * 90_000 * 0.99:
                    segments.append(_remux(stream, group))
                    group = []
            if packet.size:
                group.append(packet)
    return segments


def halved(segments: list[bytes]) -> list[bytes]:
    """MPEG-TS segments of half the length: every other one begins in the middle of what the first began."""
    halves = []
    for data in segments:
        with av.open(io.BytesIO(data)) as source:
            stream = source.streams.video[0]
            packets = [packet for packet in source.demux(stream) if packet.size]
            middle = len(packets) // 2
            halves += [_remux(stream, packets[:middle]), _remux(stream, packets[middle:])]
    return halves


def _remux(stream: VideoStream, packets: list[av.Packet]) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mpegts", options={"mpegts_copyts": "1"}) as out:
        target = out.add_stream_from_template(stream)
        for packet in packets:
            packet.stream = target
            out.mux(packet)
    return file.getvalue()


def fmp4_segments(
    *, seconds: float = 4.0, fps: int = 10, segment_s: float = 1.0, gop_s: float | None = None, **options: object
) -> tuple[bytes, list[bytes]]:
    """The initialisation section and the segments of a fragmented MP4; cut at keyframes, or at ``segment_s`` where a
    GOP of ``gop_s`` is longer."""
    file = io.BytesIO()
    flags = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    if gop_s is not None:
        flags = {"movflags": "empty_moov+default_base_moof", "frag_duration": str(int(segment_s * 1_000_000))}
    gop = round((gop_s or segment_s) * fps)
    whole = clip_bytes(seconds=seconds, fps=fps, gop=gop, container="matroska", **options)  # type: ignore[arg-type]
    with av.open(io.BytesIO(whole)) as source, av.open(file, "w", format="mp4", options=flags) as out:
        stream = source.streams.video[0]
        target = out.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.size:
                packet.stream = target
                out.mux(packet)
    data = file.getvalue()
    cuts = [at for at, kind in _boxes(data) if kind == b"moof"]
    end = next(at for at, kind in _boxes(data) if kind == b"mfra")
    return data[: cuts[0]], [data[a:b] for a, b in zip(cuts, [*cuts[1:], end], strict=True)]


def _boxes(data: bytes) -> list[tuple[int, bytes]]:
    at, found = 0, []
    while at < len(data):
        found.append((at, data[at + 4 : at + 8]))
        at += int.from_bytes(data[at : at + 4])
    return found
