"""Whether a decoder can begin at a packet. Containers flag more than that as keyframes.

A stream with intra refresh (a wave of intra-coded blocks instead of whole pictures) has its recovery points
flagged: alone, such a packet shows nothing. So the first slice of a flagged packet is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from monitor.streams.packet import VideoFormat

_MOST_UNITS = 64
# ITU-T H.264 table 7-1 and H.265 table 7-1.
_H264_SLICE, _H264_IDR = 1, 5
_H265_SLICES, _H265_IRAP = range(0, 10), range(16, 24)
_I_SLICES = (2, 4, 7, 9)


class EntryPoint(StrEnum):
    """What a packet that its container calls a keyframe is good for."""

    PICTURE = "picture"
    """It shows a whole picture by itself."""
    RECOVERY = "recovery"
    """A decoder that begins here shows whole pictures some time later."""


def entry_point(video: VideoFormat, data: bytes) -> EntryPoint:
    """Judge a packet that is flagged as a keyframe; what cannot be read is believed to be one."""
    if video.codec not in ("h264", "hevc"):
        return EntryPoint.PICTURE
    for unit in _units(video, data):
        if video.codec == "hevc":
            kind = unit[0] >> 1 & 0x3F
            if kind in _H265_IRAP or kind in _H265_SLICES:
                return EntryPoint.PICTURE if kind in _H265_IRAP else EntryPoint.RECOVERY
        elif unit[0] & 0x1F == _H264_IDR:
            return EntryPoint.PICTURE
        elif unit[0] & 0x1F == _H264_SLICE:
            return EntryPoint.PICTURE if _slice_type(unit) in _I_SLICES else EntryPoint.RECOVERY
    return EntryPoint.PICTURE


def _units(video: VideoFormat, data: bytes) -> Iterator[bytes]:
    """The first bytes of each NAL unit: length-prefixed as the extradata says, else after start codes."""
    extradata = video.extradata or b""
    if extradata[:1] == b"\x01" and len(extradata) > 21:
        yield from _prefixed(data, 1 + (extradata[4 if video.codec == "h264" else 21] & 3))
    else:
        yield from _annex_b(data)


def _prefixed(data: bytes, width: int) -> Iterator[bytes]:
    at = 0
    for _ in range(_MOST_UNITS):
        start = at + width
        if start >= len(data):
            return
        yield data[start : start + 16]
        at = start + int.from_bytes(data[at:start])


def _annex_b(data: bytes) -> Iterator[bytes]:
    at = 0
    for _ in range(_MOST_UNITS):
        at = data.find(b"\x00\x00\x01", at) + 3
        if at < 3 or at >= len(data):
            return
        yield data[at : at + 16]


def _slice_type(unit: bytes) -> int | None:
    """The second Exp-Golomb number of a slice header (H.264, 7.3.3); None where the bytes end before it."""
    bits = "".join(f"{byte:08b}" for byte in unit[1:])
    at = 0
    value: int | None = None
    for _ in range(2):
        zeros = bits.find("1", at) - at
        if zeros < 0 or at + 2 * zeros + 1 > len(bits):
            return None
        value = int(bits[at + zeros : at + 2 * zeros + 1], 2) - 1
        at += 2 * zeros + 1
    return value
