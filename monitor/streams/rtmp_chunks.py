"""RTMP's chunks (Adobe RTMP 1.0, chapter 5): messages cut into pieces that may be interleaved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from monitor.errors import StreamError, StreamReason
from monitor.streams.flv_video import Piece

SET_CHUNK_SIZE, ABORT, ACKNOWLEDGEMENT, USER_CONTROL, WINDOW_SIZE, PEER_BANDWIDTH = 1, 2, 3, 4, 5, 6
SOUND, VIDEO, COMMAND_3, DATA, COMMAND, AGGREGATE = 8, 9, 17, 18, 20, 22

CHUNK_SIZE = 4096
"""What a server that uses this module announces and sends."""
DEFAULT_CHUNK_SIZE = 128
"""What holds until a peer announces another one."""
MOST_CHUNK_STREAMS = 64
MOST_AT_ONCE = 4096
"""Chunks, or runs of them, that one :meth:`ChunkReader.feed` takes: a room has some hundreds of messages a second."""

_LONG_TIME = 0xFFFFFF
_LONG_TIME_SIZE = 4
_MESSAGE_HEADS = (11, 7, 3, 0)
"""Bytes of the message header for each chunk format."""
_CIRCLE = 1 << 32
_SMALL = 1024
"""Chunks below this are so many that their headers are better taken out all at once."""
_MOST_IN_A_RUN = 4096
"""Headers that are looked at to find out whether chunks belong together."""

Wants = Callable[[int], bool]
"""Whether a video message whose body begins with a byte is to be collected."""


@dataclass(slots=True)
class Message:
    """One RTMP message that was received."""

    kind: int
    stream: int
    time_ms: int
    parts: list[Piece] = field(repr=False)
    """Its body, in pieces, so that most of it is copied only once, to where it is kept."""

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(self.parts)


@dataclass(slots=True)
class _ChunkStream:
    kind: int = 0
    stream: int = 0
    size: int = 0
    time_ms: int = 0
    field: int = 0
    """The last time field: since the message before, if the last header was not a full one."""
    is_long: bool = False
    missing: int = 0
    """Bytes of the message under way; 0 between messages."""
    body: bytearray | None = None
    """What came of it; None if it is not collected."""


class ChunkReader:
    """A push parser: :meth:`feed` it with pieces of any size.

    :param most_bytes: of one message that is collected, and half of what all messages under way may take.
    :param unwanted: kinds of messages that are passed over, which costs no copying.
    :param wants: the same for single messages of video; None: all are collected.
    """

    def __init__(self, *, most_bytes: int, unwanted: frozenset[int] = frozenset(), wants: Wants | None = None) -> None:
        self._most_bytes = most_bytes
        self._unwanted = unwanted
        self._wants = wants
        self._streams: dict[int, _ChunkStream] = {}
        self._chunk_size = DEFAULT_CHUNK_SIZE
        self._rest = b""
        self._number = 0
        self._stream = _ChunkStream()
        self._chunk_left = 0
        self._held = 0
        self.has_sound = False
        """Whether any sound came."""
        self.messages = 0
        """How many began so far."""

    def feed(self, data: bytes) -> list[Message]:
        """The messages that ``data`` brings to an end, without those that only concern the chunks.

        :raises StreamError: BAD_DATA, TOO_LARGE. Of no more use then.
        """
        if self._rest:
            data, self._rest = self._rest + data, b""
        messages: list[Message] = []
        at, end, chunks = 0, len(data), 0
        while at < end:
            if not self._chunk_left:
                chunks += 1
                if chunks > MOST_AT_ONCE:
                    raise StreamError(StreamReason.BAD_DATA, "more messages at once than any room sends")
                start = self._header(data, at)
                if not start:
                    self._rest = data[at:]
                    break
                at = self._take_whole(self._stream, data, start, messages)
                if at > start:
                    continue
            stream = self._stream
            if stream.missing:
                taken = min(self._chunk_left, end - at)
                if taken:
                    self._collect(stream, data[at : at + taken])
                    self._chunk_left -= taken
                    at += taken
                if not self._chunk_left and stream.missing and at < end:
                    at = self._take_run(stream, data, at)
            if not stream.missing:
                self._finish(stream, messages)
        return messages

    def _header(self, data: bytes, at: int) -> int:
        """Where the chunk's payload begins whose header begins at ``at``; 0 if the header is not all there."""
        first = data[at]
        head, number = first >> 6, first & 0x3F
        at += 1
        if number < 2:
            width = number + 1
            if at + width > len(data):
                return 0
            number = 64 + int.from_bytes(data[at : at + width], "little")
            at += width
        stream = self._streams.get(number) or self._new_stream(head)
        size = _MESSAGE_HEADS[head]
        payload = at + size
        fields = data[at:payload]
        time = int.from_bytes(fields[:3], "big") if size else stream.field
        is_long = time == _LONG_TIME if size else stream.is_long
        # Even where it is left out, so much is waited for as can be told from it.
        if len(fields) < size or (is_long and payload + _LONG_TIME_SIZE > len(data)):
            return 0
        if is_long:
            long_time = int.from_bytes(data[payload : payload + _LONG_TIME_SIZE], "big")
            # Not every server repeats it before the pieces that follow.
            if size or long_time in (stream.field, stream.time_ms):
                payload += _LONG_TIME_SIZE
                time = long_time if size else time
        self._streams[number] = stream
        if not stream.missing:
            self._begin(stream, head, fields, time, is_long=is_long)
        elif head < 2 and int.from_bytes(fields[3:6], "big") != stream.size:
            raise StreamError(StreamReason.BAD_DATA, "a message begins within another")
        self._number, self._stream = number, stream
        self._chunk_left = min(self._chunk_size, stream.missing)
        return payload

    def _new_stream(self, head: int) -> _ChunkStream:
        if head > 1 or len(self._streams) >= MOST_CHUNK_STREAMS:
            raise StreamError(StreamReason.BAD_DATA, "a chunk of no known stream, or of too many")
        return _ChunkStream()

    def _begin(self, stream: _ChunkStream, head: int, fields: bytes, time: int, *, is_long: bool) -> None:
        """The first chunk of a message; what its header leaves out is as in the message before."""
        stream.is_long, stream.field = is_long, time
        if head < 2:
            stream.size, stream.kind = int.from_bytes(fields[3:6], "big"), fields[6]
        if head == 0:
            stream.stream = int.from_bytes(fields[7:11], "little")
            stream.time_ms = time
        else:
            stream.time_ms = (stream.time_ms + time) % _CIRCLE
        stream.missing = stream.size
        stream.body = bytearray()
        self.messages += 1
        if stream.kind == SOUND:
            self.has_sound = True

    def _collect(self, stream: _ChunkStream, piece: bytes | bytearray) -> None:
        """The next bytes of the stream's message."""
        stream.missing -= len(piece)
        if stream.body is None:
            return
        if not stream.body and not self._is_wanted(stream, piece[0]):
            stream.body = None
            return
        stream.body += piece
        self._held += len(piece)
        if self._held > 2 * self._most_bytes:
            raise StreamError(StreamReason.TOO_LARGE, "too much of messages that are under way")

    def _is_wanted(self, stream: _ChunkStream, first: int) -> bool:
        if stream.kind in self._unwanted:
            return False
        if self._wants is not None and stream.kind == VIDEO and not self._wants(first):
            return False
        if stream.size > self._most_bytes:
            raise StreamError(StreamReason.TOO_LARGE, f"a message of {stream.size} bytes")
        return True

    def _take_whole(self, stream: _ChunkStream, data: bytes, at: int, messages: list[Message]) -> int:
        """Take the whole message if its chunks lie one behind the other from ``at`` on; where it ends, else ``at``.

        The usual case.
        """
        size = stream.size
        stride = self._chunk_size + 1
        more = (size - 1) // self._chunk_size
        end = at + size + more
        if not size or stream.missing < size or end > len(data) or stream.kind <= PEER_BANDWIDTH:
            return at
        if more > _MOST_IN_A_RUN:
            return at
        if end - at > size:
            headers = data[at + stride - 1 : end : stride]
            if stream.is_long or self._number >= 64 or headers.strip(bytes([0xC0 | self._number])):
                return at
        if self._is_wanted(stream, data[at]):
            parts = _unchunked(data, at, end, stride)
            messages.append(Message(stream.kind, stream.stream, stream.time_ms, parts))
        stream.missing = self._chunk_left = 0
        return end

    def _take_run(self, stream: _ChunkStream, data: bytes, at: int) -> int:
        """Take as many chunks of the same message as lie one behind the other; where they end.

        All in one go: with the chunk size that servers begin with, there are thousands a second.
        """
        if self._number >= 64 or stream.is_long:
            return at
        stride = 1 + self._chunk_size
        span = min(stream.missing - -stream.missing // self._chunk_size, _MOST_IN_A_RUN * stride)
        if span > len(data) - at:
            span = (len(data) - at) // stride * stride
        headers = data[at : at + span : stride]
        count = len(headers) - len(headers.lstrip(bytes([0xC0 | self._number])))
        span = min(span, count * stride)
        if not span:
            return at
        if stream.body is None:
            stream.missing -= span - count
        else:
            pieces = bytearray(data[at : at + span])
            del pieces[::stride]
            self._collect(stream, pieces)
        return at + span

    def _finish(self, stream: _ChunkStream, messages: list[Message]) -> None:
        """The current message is whole."""
        body, stream.body = stream.body, None
        if body is None:
            return
        self._held -= len(body)
        if stream.kind == SET_CHUNK_SIZE:
            size = int.from_bytes(body[:4], "big") & 0x7FFFFFFF
            if not size:
                raise StreamError(StreamReason.BAD_DATA, "a chunk size of 0")
            self._chunk_size = size
        elif stream.kind == ABORT:
            aborted = self._streams.get(int.from_bytes(body[:4], "big"))
            if aborted is not None:
                self._held -= len(aborted.body or b"")
                aborted.missing, aborted.body = 0, None
        else:
            messages.append(Message(stream.kind, stream.stream, stream.time_ms, [body]))


def _unchunked(data: bytes, at: int, end: int, stride: int) -> list[Piece]:
    """The chunks between ``at`` and ``end`` without the header that each but the first has, copied or not."""
    if stride < _SMALL:
        joined = bytearray(data[at:end])
        del joined[stride - 1 :: stride]
        return [joined]
    view = memoryview(data)[:end]
    return [view[start : start + stride - 1] for start in range(at, end, stride)]


def chunked(kind: int, body: bytes, *, stream: int = 0, time_ms: int = 0, chunk_size: int = CHUNK_SIZE) -> bytes:
    """A message as chunks; each kind has its own chunk stream."""
    number = 2 if kind <= PEER_BANDWIDTH else 3 if kind == COMMAND else kind
    long_time = (time_ms & 0xFFFFFFFF).to_bytes(4, "big") if time_ms >= _LONG_TIME else b""
    header = min(time_ms, _LONG_TIME).to_bytes(3, "big") + len(body).to_bytes(3, "big")
    header += bytes([kind]) + stream.to_bytes(4, "little")
    parts = [bytes([number]) + header + long_time + body[:chunk_size]]
    for start in range(chunk_size, len(body), chunk_size):
        parts.append(bytes([0xC0 | number]) + long_time + body[start : start + chunk_size])
    return b"".join(parts)
