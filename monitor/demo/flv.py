"""A clip as FLV tags (Adobe FLV 10.1, annex E), which HTTP-FLV and RTMP both carry."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import av

from monitor.demo.clip import Clip, add_clip_stream, mux_packets

VIDEO_TAG = 9
SCRIPT_TAG = 18
FILE_HEADER = b"FLV\x01\x01\x00\x00\x00\x09\x00\x00\x00\x00"
"""Version 1, video only, and the size of the tag before the first, which is none."""

_FILE_HEADER_SIZE = len(FILE_HEADER)
_TAG_HEADER_SIZE = 11
_SIZE_FIELD = 4
_SEQUENCE_HEADER, _PICTURE = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FlvClip:
    """The bodies of a clip's tags; without timestamps, so that they can be sent again and again."""

    metadata: bytes = field(repr=False)
    """Body of the script tag ``onMetaData``."""
    sequence_header: bytes = field(repr=False)
    """Body of the video tag with the decoder's configuration."""
    pictures: tuple[bytes, ...] = field(repr=False)
    """Bodies of the video tags, one for each of the clip's packets."""


def flv_clip(clip: Clip) -> FlvClip:
    """Remux a clip; takes some milliseconds."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flv", options={"flvflags": "no_duration_filesize"}) as output:
        mux_packets(output, add_clip_stream(output, clip), clip, clip.packets, 0)
    tags = _tags(buffer.getvalue())
    videos = [body for kind, body in tags if kind == VIDEO_TAG]
    return FlvClip(
        metadata=next(body for kind, body in tags if kind == SCRIPT_TAG),
        sequence_header=next(body for body in videos if body[1] == _SEQUENCE_HEADER),
        pictures=tuple(body for body in videos if body[1] == _PICTURE),
    )


def flv_tag(kind: int, body: bytes, time_ms: int) -> bytes:
    """One tag with the size field that follows it; the time wraps after 2^32 ms."""
    stamp = (time_ms & 0xFFFFFFFF).to_bytes(4, "big")
    header = bytes([kind]) + len(body).to_bytes(3, "big") + stamp[1:] + stamp[:1] + bytes(3)
    return header + body + (_TAG_HEADER_SIZE + len(body)).to_bytes(_SIZE_FIELD, "big")


def _tags(data: bytes) -> list[tuple[int, bytes]]:
    """Kind and body of every tag of an FLV file."""
    tags = []
    start = _FILE_HEADER_SIZE
    while start + _TAG_HEADER_SIZE <= len(data):
        size = int.from_bytes(data[start + 1 : start + 4], "big")
        body = start + _TAG_HEADER_SIZE
        tags.append((data[start], data[body : body + size]))
        start = body + size + _SIZE_FIELD
    return tags
