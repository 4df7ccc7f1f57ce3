"""The part of RTMP (Adobe, 1.0, 2012) that a server needs to let somebody play: chunks and AMF0 values."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from monitor.errors import MonitorError

SET_CHUNK_SIZE, USER_CONTROL, WINDOW_SIZE, PEER_BANDWIDTH = 1, 4, 5, 6
VIDEO, DATA, COMMAND = 9, 18, 20

HANDSHAKE_SIZE = 1536
CHUNK_SIZE = 4096
"""What this server announces and sends; the most that is accepted of a viewer is below."""
_DEFAULT_CHUNK_SIZE = 128
_LONG_TIME = 0xFFFFFF
_MOST_BYTES = 65536
_MESSAGE_HEADERS = (11, 7, 3, 0)
"""Bytes of the message header for each chunk format."""

AmfValue = float | bool | str | None | Mapping[str, "AmfValue"]


@dataclass(slots=True)
class Message:
    """One RTMP message."""

    kind: int
    stream: int = 0
    time_ms: int = 0
    body: bytes = field(default=b"", repr=False)


@dataclass(slots=True)
class _ChunkStream:
    kind: int = 0
    stream: int = 0
    size: int = 0
    has_long_time: bool = False
    body: bytearray = field(default_factory=bytearray)


class MessageReader:
    """Puts a viewer's chunks together. Timestamps of viewers mean nothing here and are skipped."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._streams: dict[int, _ChunkStream] = {}
        self._chunk_size = _DEFAULT_CHUNK_SIZE

    async def read(self) -> Message:
        """The next whole message.

        :raises asyncio.IncompleteReadError: when the viewer left.
        :raises MonitorError: for a message that no viewer sends.
        """
        while True:
            stream = await self._header()
            wanted = min(self._chunk_size, stream.size - len(stream.body))
            stream.body += await self._reader.readexactly(wanted)
            if len(stream.body) < stream.size:
                continue
            message = Message(kind=stream.kind, stream=stream.stream, body=bytes(stream.body))
            stream.body.clear()
            if message.kind != SET_CHUNK_SIZE:
                return message
            self._chunk_size = max(1, int.from_bytes(message.body[:4], "big") & 0x7FFFFFFF)

    async def _header(self) -> _ChunkStream:
        first = (await self._reader.readexactly(1))[0]
        chunk_format, number = first >> 6, first & 0x3F
        if number < 2:
            number = 64 + int.from_bytes(await self._reader.readexactly(number + 1), "little")
        stream = self._streams.setdefault(number, _ChunkStream())
        header = await self._reader.readexactly(_MESSAGE_HEADERS[chunk_format])
        if header:
            stream.has_long_time = header[:3] == b"\xff\xff\xff"
        if chunk_format < 2:
            stream.size, stream.kind = int.from_bytes(header[3:6], "big"), header[6]
        if chunk_format == 0:
            stream.stream = int.from_bytes(header[7:11], "little")
        if stream.has_long_time:
            await self._reader.readexactly(4)
        if stream.size > _MOST_BYTES:
            raise MonitorError(f"a viewer sent a message of {stream.size} bytes, at most {_MOST_BYTES} are taken")
        return stream


def chunked(message: Message) -> bytes:
    """The message as chunks of ``CHUNK_SIZE``; each kind has its own chunk stream."""
    number = 2 if message.kind <= PEER_BANDWIDTH else 3 if message.kind == COMMAND else message.kind
    long_time = (message.time_ms & 0xFFFFFFFF).to_bytes(4, "big") if message.time_ms >= _LONG_TIME else b""
    header = min(message.time_ms, _LONG_TIME).to_bytes(3, "big") + len(message.body).to_bytes(3, "big")
    header += bytes([message.kind]) + message.stream.to_bytes(4, "little")
    parts = [bytes([number]) + header + long_time + message.body[:CHUNK_SIZE]]
    for start in range(CHUNK_SIZE, len(message.body), CHUNK_SIZE):
        parts.append(bytes([0xC0 | number]) + long_time + message.body[start : start + CHUNK_SIZE])
    return b"".join(parts)


def encode_amf(*values: AmfValue) -> bytes:
    """Values as AMF0."""
    return b"".join(_encoded(value) for value in values)


def _encoded(value: AmfValue) -> bytes:
    if value is None:
        return b"\x05"
    if isinstance(value, bool):
        return b"\x01" + bytes([value])
    if isinstance(value, str):
        return b"\x02" + _encoded_name(value)
    if isinstance(value, Mapping):
        members = b"".join(_encoded_name(name) + _encoded(member) for name, member in value.items())
        return b"\x03" + members + b"\x00\x00\x09"
    return b"\x00" + struct.pack(">d", value)


def _encoded_name(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2, "big") + data


def decode_command(body: bytes) -> tuple[str, float, tuple[AmfValue, ...]]:
    """Name, transaction and plain arguments of a command message.

    Reading stops at an object: what this server needs of a command stands before one, or is no object.

    :raises MonitorError: when it is no command.
    """
    values: list[AmfValue] = []
    position = 0
    try:
        while position < len(body):
            kind = body[position]
            position += 1
            if kind == 0:
                values.append(struct.unpack_from(">d", body, position)[0])
                position += 8
            elif kind == 1:
                values.append(bool(body[position]))
                position += 1
            elif kind == 2:
                size = int.from_bytes(body[position : position + 2], "big")
                values.append(body[position + 2 : position + 2 + size].decode())
                position += 2 + size
            elif kind == 5:
                values.append(None)
            else:
                break
    except (struct.error, IndexError, UnicodeDecodeError) as err:
        raise MonitorError("a viewer sent a broken command") from err
    if len(values) < 2 or not isinstance(values[0], str) or not isinstance(values[1], float):
        raise MonitorError("a viewer sent a command without name and number")
    return values[0], values[1], tuple(values[2:])
