"""FLV tags, and what comes of bytes that are fed to a parser bit by bit."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime

import av
from av.video.stream import VideoStream

from monitor.streams.flv_video import Item
from monitor.streams.packet import Packet, VideoFormat

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FILE_HEAD = b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00"
SOUND, VIDEO, SCRIPT = 8, 9, 18
AVCC = b"\x01\x4d\x40\x1f\xff\xe1\x00\x00\x01\x00\x00"
HEADER = b"\x17\x00\x00\x00\x00" + AVCC


def tag(kind: int, body: bytes, time_ms: int = 0) -> bytes:
    """One tag with the back pointer behind it."""
    time_ms &= 0xFFFFFFFF
    head = bytes([kind]) + len(body).to_bytes(3) + (time_ms & 0xFFFFFF).to_bytes(3) + bytes([time_ms >> 24, 0, 0, 0])
    return head + body + (len(body) + 11).to_bytes(4)


def picture(data: bytes = b"picture", *, key: bool = True, offset_ms: int = 0) -> bytes:
    """The body of a tag with a picture of H.264."""
    return bytes([0x17 if key else 0x27, 1]) + offset_ms.to_bytes(3, "big", signed=True) + data


def tags(data: bytes) -> list[tuple[int, int, bytes]]:
    """Kind, time and body of each tag in a file."""
    found, at = [], 13
    while at + 11 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 4])
        stamp = int.from_bytes(data[at + 4 : at + 7]) | data[at + 7] << 24
        found.append((data[at], stamp, data[at + 11 : at + 11 + size]))
        at += size + 15
    return found


def fed(feed: Callable[[bytes, datetime], list[Item]], data: bytes, size: int) -> list[Item]:
    """What ``feed`` gives for ``data`` in pieces of ``size``."""
    items: list[Item] = []
    for at in range(0, len(data), size):
        items += feed(data[at : at + size], NOW)
    return items


def packets(items: list[Item]) -> list[Packet]:
    return [item for item in items if isinstance(item, Packet)]


def formats(items: list[Item]) -> list[VideoFormat]:
    return [item for item in items if isinstance(item, VideoFormat)]


def remuxed(codec: str, *, seconds: float = 2.0, bframes: int = 0) -> bytes:
    """An FLV of a codec, as FFmpeg writes it."""
    file = io.BytesIO()
    with av.open(file, "w", format="flv") as out:
        stream = out.add_stream(codec, rate=25)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 320, 192, "yuv420p", 10
        quick = {"libx264": {"bf": str(bframes)}, "libx265": {"x265-params": f"log-level=none:bframes={bframes}"}}
        stream.options = {"preset": "8" if codec == "libsvtav1" else "ultrafast", **quick.get(codec, {})}
        if codec == "libvpx-vp9":
            stream.options = {"deadline": "realtime", "cpu-used": "8"}
        for index in range(round(seconds * 25)):
            frame = av.VideoFrame(320, 192, "yuv420p")
            for number, plane in enumerate(frame.planes):
                plane.update(bytes((index * 5 + number * 40 + at // 997) % 256 for at in range(plane.buffer_size)))
            frame.pts = index
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()
