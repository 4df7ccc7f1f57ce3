"""Video as FLV tags and RTMP messages carry it (Adobe FLV 10.1, E.4.3; Enhanced RTMP v2, "Enhanced Video")."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction

from monitor.errors import StreamError, StreamReason
from monitor.streams.packet import Packet, VideoFormat

VIDEO = 9
"""The kind of a tag or a message that holds video."""

Item = VideoFormat | Packet
"""What a stream of tags comes to: a format begins an epoch, the packets behind it belong to it."""

TIME_BASE = Fraction(1, 1000)

_KEYFRAME, _COMMAND = 1, 5
# 12 is no part of the specification: it is how HEVC was carried before there was an enhanced one.
_LEGACY = {7: "h264", 12: "hevc"}
_ENHANCED = {b"avc1": "h264", b"hvc1": "hevc", b"av01": "libdav1d", b"vp09": "vp9"}
"""FFmpeg's names of the decoders; its own of AV1 decodes nothing without the right graphics card."""
_CONFIGURATION, _PICTURE, _PICTURE_AT_ONCE, _MULTITRACK, _MORE = 0, 1, 3, 6, 7
_ONE_TRACK = 0
_MOST_CONFIGURATION = 1 << 16
_HALF = 1 << 31
_MOST_UNSUPPORTED = 10
"""Tags of codecs that are not watched, before there is one that is: the room has no other video."""
_LEAST_BYTES = 5
_HEAD_BYTES = 64
"""Of a tag's body; within them its own head ends."""

Piece = bytes | bytearray | memoryview


class FlvVideo:
    """Turns the bodies of video tags into packets with times that do not wrap.

    :param keyframes_only: leave all other pictures out.
    """

    def __init__(self, *, keyframes_only: bool) -> None:
        self._keyframes_only = keyframes_only
        self._format: VideoFormat | None = None
        self._unsupported = 0
        self._time: int | None = None
        self._lead = 0

    def wants(self, first: int) -> bool:
        """Whether the body that begins with the byte ``first`` is to be collected at all."""
        if not self._keyframes_only:
            return True
        if first & 0x80 and first & 0x0F not in (_PICTURE, _PICTURE_AT_ONCE):
            return True
        return first >> 4 & 7 == _KEYFRAME

    def read(self, parts: Sequence[Piece], time_ms: int, received_at: datetime) -> Item | None:
        """What one tag's body holds, if it is of use.

        :param parts: of the body, in order. What is kept of them is copied.
        :param time_ms: of the tag, modulo 2^32.
        :raises StreamError: BAD_DATA, UNSUPPORTED where no video is of a codec that is watched.
        """
        # Half a circle is 24 days: keyframes alone come often enough to follow the time around it.
        dts = self._time = time_ms if self._time is None else _unwrapped(time_ms, self._time)
        head = bytes(parts[0][:_HEAD_BYTES]) if parts else b""
        if len(head) < _HEAD_BYTES:
            head = b"".join(parts)
        # An empty tag is what some servers keep a connection alive with.
        if len(head) < _LEAST_BYTES or (self._keyframes_only and not self.wants(head[0])):
            return None
        is_keyframe = head[0] >> 4 & 7 == _KEYFRAME
        codec, kind, offset, start = _enhanced(head) if head[0] & 0x80 else _legacy(head)
        if codec is None:
            self._pass_over(head)
        # The first byte of some heads does not tell a configuration from a picture.
        if codec is None or not (kind == _CONFIGURATION or (kind == _PICTURE and self._is_due(is_keyframe))):
            return None
        data = _behind(start, parts)
        if not data:
            return None
        if kind == _CONFIGURATION:
            return self._configured(codec, data)
        if self._format is None:
            return None
        # Pictures are never shown before they are decoded, whatever a tag says.
        if offset < self._lead:
            self._lead = offset
        return Packet(
            data=data,
            pts=dts + offset,
            dts=dts + self._lead,
            is_keyframe=is_keyframe,
            received_at=received_at,
        )

    def _is_due(self, is_keyframe: bool) -> bool:
        return is_keyframe or not self._keyframes_only

    def _pass_over(self, head: bytes) -> None:
        """A tag of no codec that is watched. Among others anybody who publishes could put one: it ends no room.

        :raises StreamError: UNSUPPORTED, once there are only such tags.
        """
        if self._format is not None:
            return
        self._unsupported += 1
        if self._unsupported >= _MOST_UNSUPPORTED:
            shown = repr(head[1:5].decode("ascii", errors="replace")) if head[0] & 0x80 else f"{head[0] & 0x0F} of FLV"
            raise StreamError(StreamReason.UNSUPPORTED, f"video codec {shown}", retryable=False)

    def _configured(self, codec: str, data: bytes) -> VideoFormat | None:
        if len(data) > _MOST_CONFIGURATION:
            raise StreamError(StreamReason.BAD_DATA, f"a decoder configuration of {len(data)} bytes")
        # Servers repeat it; only another one is another epoch.
        if self._format is not None and (codec, data) == (self._format.codec, self._format.extradata):
            return None
        self._format = VideoFormat(codec=codec, extradata=data, width=0, height=0, time_base=TIME_BASE)
        return self._format


def _unwrapped(time_ms: int, before: int) -> int:
    """The time that is ``time_ms`` modulo 2^32 and nearest to the one before."""
    return before + (time_ms - before + _HALF) % (2 * _HALF) - _HALF


_Head = tuple[str | None, int | None, int, slice]
"""Codec (None: not watched), what the data is (None: of no use here), composition time offset in
milliseconds, and where the data is."""


def _legacy(head: bytes) -> _Head:
    if head[0] >> 4 == _COMMAND:
        return "", None, 0, slice(0)
    return _LEGACY.get(head[0] & 0x0F), head[1], _offset(head[2:5]), slice(5, None)


def _enhanced(head: bytes) -> _Head:
    kind, at = head[0] & 0x0F, 1
    while kind == _MORE:
        kind, at = _behind_more(head, at)
    if head[0] >> 4 & 7 == _COMMAND:
        return "", None, 0, slice(0)
    tracks = None
    if kind == _MULTITRACK:
        tracks, kind = head[at] >> 4, head[at] & 0x0F
        at += 1
    name, at = head[at : at + 4], at + 4
    end = None
    if tracks is not None:
        # Track by track; the first one is watched. With codecs of their own, the name just read is the first's.
        at += 1
        if tracks != _ONE_TRACK:
            end = at + 3 + int.from_bytes(head[at : at + 3], "big")
            at += 3
    codec = _ENHANCED.get(name)
    if kind == _PICTURE and codec in ("h264", "hevc"):
        return codec, _PICTURE, _offset(head[at : at + 3]), slice(at + 3, end)
    return codec, _PICTURE if kind == _PICTURE_AT_ONCE else kind, 0, slice(at, end)


def _behind_more(head: bytes, at: int) -> tuple[int, int]:
    """The kind of packet that follows an extension of its head, and where it goes on."""
    size, at = head[at] + 1, at + 1
    if size == 256:
        size, at = int.from_bytes(head[at : at + 2], "big") + 1, at + 2
    at += size
    if at + _LEAST_BYTES > len(head):
        raise StreamError(StreamReason.BAD_DATA, "a video tag whose head has no end")
    return head[at] & 0x0F, at + 1


def _offset(field: bytes) -> int:
    return int.from_bytes(field, "big", signed=True)


def _behind(where: slice, parts: Sequence[Piece]) -> bytes:
    """The bytes at ``where`` in what ``parts`` come to, copied once in the usual case."""
    if where.stop is None and where.start <= len(parts[0]):
        first = memoryview(parts[0])[where.start :]
        return bytes(first) if len(parts) == 1 else b"".join([first, *parts[1:]])
    return b"".join(parts)[where]
