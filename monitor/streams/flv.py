"""Reads FLV as it arrives (Adobe FLV 10.1, annex E): video is collected, sound and scripts are passed over."""

from __future__ import annotations

from datetime import datetime

from monitor.errors import StreamError, StreamReason
from monitor.streams.amf import decode_amf
from monitor.streams.flv_video import VIDEO, FlvVideo, Item, Piece

SIGNATURE = b"FLV\x01"

_FILE_HEAD, _TAG_HEAD, _BACK_POINTER = 9, 11, 4
_MOST_FILE_HEAD = 1024
_SOUND, _SCRIPT_3, _SCRIPT = 8, 15, 18
_KIND, _ENCRYPTED = 0x1F, 0x20
MOST_TAG_BYTES = 8 << 20
"""Of a tag that is collected: several times the keyframe of a good picture in 4K."""
_MOST_SCRIPT = 1 << 16
MOST_AT_ONCE = 4096
"""Tags that one :meth:`FlvReader.feed`, or one aggregate, brings: a room has some hundreds a second."""


class FlvReader:
    """A push parser: :meth:`feed` it with pieces of any size. It holds one tag at the most.

    :param keyframes_only: leave all other pictures out.
    """

    def __init__(self, *, keyframes_only: bool) -> None:
        self._video = FlvVideo(keyframes_only=keyframes_only)
        self._head = bytearray()
        self._head_size = _FILE_HEAD
        self._is_begun = False
        self._kind = 0
        self._time_ms = 0
        self._missing = 0
        self._body: bytearray | None = None
        self.has_sound = False
        """Whether any sound came."""
        self.duration_s = 0.0
        """Seconds that the file says it lasts; 0 for a live room, which does not say."""

    def feed(self, data: bytes, received_at: datetime) -> list[Item]:
        """What ``data`` brings to an end.

        :param received_at: UTC at which ``data`` came.
        :raises StreamError: BAD_DATA, TOO_LARGE, UNSUPPORTED. Of no more use then.
        """
        items: list[Item] = []
        at, end, tags = 0, len(data), 0
        while at < end:
            if self._missing:
                taken = min(self._missing, end - at)
                self._missing -= taken
                self._take(data[at : at + taken], items, received_at)
                at += taken
            else:
                taken = min(self._head_size - len(self._head), end - at)
                self._head += data[at : at + taken]
                at += taken
                if len(self._head) == self._head_size:
                    tags += 1
                    if tags > MOST_AT_ONCE:
                        raise _too_many()
                    self._begin()
        return items

    def _begin(self) -> None:
        """A whole head is here: the file's, or a tag's with the back pointer before it."""
        head, self._head = self._head, bytearray()
        if not self._is_begun:
            self._begin_file(head)
            return
        size = int.from_bytes(head[5:8], "big")
        self._kind = head[4] & _KIND
        self._time_ms = head[11] << 24 | int.from_bytes(head[8:11], "big")
        if self._kind not in (_SOUND, VIDEO, _SCRIPT, _SCRIPT_3):
            raise StreamError(StreamReason.BAD_DATA, "no FLV tag where one must be")
        if head[4] & _ENCRYPTED and self._kind == VIDEO:
            raise StreamError(StreamReason.UNSUPPORTED, "encrypted FLV", retryable=False)
        self._missing = size
        self._body = None
        if self._kind == _SOUND:
            self.has_sound = True
        elif self._kind == VIDEO:
            if size > MOST_TAG_BYTES:
                raise StreamError(StreamReason.TOO_LARGE, f"a picture of {size} bytes")
            self._body = bytearray()
        elif self._kind == _SCRIPT and size <= _MOST_SCRIPT:
            self._body = bytearray()

    def _begin_file(self, head: bytearray) -> None:
        if head[:4] != SIGNATURE:
            raise StreamError(StreamReason.BAD_DATA, "not FLV")
        size = int.from_bytes(head[5:9], "big")
        if not _FILE_HEAD <= size <= _MOST_FILE_HEAD:
            raise StreamError(StreamReason.BAD_DATA, f"an FLV header of {size} bytes")
        self._is_begun = True
        self._head_size = _BACK_POINTER + _TAG_HEAD
        self._missing = size - _FILE_HEAD

    def _take(self, piece: bytes, items: list[Item], received_at: datetime) -> None:
        """The next piece of a tag's body, which is whole with it if nothing is missing any more."""
        if self._body is None:
            return
        if not self._body and self._kind == VIDEO and not self._video.wants(piece[0]):
            self._body = None
            return
        if self._missing:
            self._body += piece
            return
        parts: list[Piece] = [self._body, piece] if self._body else [piece]
        self._body = None
        if self._kind == _SCRIPT:
            self.duration_s = _duration(b"".join(parts)) or self.duration_s
        elif (item := self._video.read(parts, self._time_ms, received_at)) is not None:
            items.append(item)


def _duration(script: bytes) -> float:
    """Seconds that ``onMetaData`` tells (E.5); 0 where it does not, or cannot be read."""
    try:
        values = decode_amf(script)
    except StreamError:
        return 0.0
    if len(values) < 2 or values[0] != "onMetaData" or not isinstance(values[1], dict):
        return 0.0
    told = values[1].get("duration")
    return told if isinstance(told, float) and 0 < told < float("inf") else 0.0


def _too_many() -> StreamError:
    return StreamError(StreamReason.BAD_DATA, "more tags at once than any room sends")


def tags_within(body: bytes) -> list[tuple[int, int, bytes]]:
    """Kind, time (ms, as it stands) and body of each tag in an aggregate message (RTMP 1.0, 7.1.6).

    :raises StreamError: BAD_DATA.
    """
    tags: list[tuple[int, int, bytes]] = []
    at = 0
    while at + _TAG_HEAD <= len(body):
        start = at + _TAG_HEAD
        if len(tags) == MOST_AT_ONCE:
            raise _too_many()
        end = start + int.from_bytes(body[at + 1 : at + 4], "big")
        if end > len(body):
            raise StreamError(StreamReason.BAD_DATA, "an aggregate that ends within a message")
        tags.append((body[at], body[at + 7] << 24 | int.from_bytes(body[at + 4 : at + 7], "big"), body[start:end]))
        at = end + _BACK_POINTER
    return tags
