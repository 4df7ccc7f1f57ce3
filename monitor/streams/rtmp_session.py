"""The player's side of an RTMP conversation (Adobe RTMP 1.0, chapters 5 to 7), without any connection."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import SplitResult, urlsplit

from monitor.errors import StreamError, StreamReason
from monitor.streams import rtmp_chunks as wire
from monitor.streams.amf import AmfValue, decode_command, encode_amf
from monitor.streams.flv import MOST_AT_ONCE, MOST_TAG_BYTES, tags_within
from monitor.streams.flv_video import FlvVideo, Item

_VERSION = 3
_HANDSHAKE = 1536
_WINDOW_BYTES = 2_500_000
_MOST_SAID = 1 << 16
"""Bytes of the commands that come at once; a server says some hundreds."""
_BUFFER_MS = 3000
_CONNECT, _CREATE_STREAM, _PLAY = 1.0, 2.0, 3.0
_LIVE = -1000.0
_STREAM_EOF, _SET_BUFFER, _PING, _PONG = 1, 3, 6, 7
# What a player says it understands; some servers hold back HEVC and AV1 from those who do not say so.
_FLASH_VERSION = "LNX 9,0,124,2"
_FOURCC = ("avc1", "hvc1", "av01", "vp09")

_REFUSALS = {
    "NetConnection.Connect.Rejected": StreamReason.FORBIDDEN,
    "NetConnection.Connect.InvalidApp": StreamReason.NOT_FOUND,
    "NetConnection.Connect.AppShutdown": StreamReason.CLOSED_BY_PEER,
    "NetConnection.Connect.Closed": StreamReason.CLOSED_BY_PEER,
    "NetStream.Play.StreamNotFound": StreamReason.NOT_FOUND,
    "NetStream.Play.Failed": StreamReason.NOT_FOUND,
    "NetStream.Play.UnpublishNotify": StreamReason.CLOSED_BY_PEER,
    "NetStream.Play.Stop": StreamReason.CLOSED_BY_PEER,
    "NetStream.Play.Complete": StreamReason.CLOSED_BY_PEER,
}
_WORDS = {
    StreamReason.FORBIDDEN: "the server refuses this application",
    StreamReason.NOT_FOUND: "the server does not offer this stream",
    StreamReason.CLOSED_BY_PEER: "the server ended the stream",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RtmpTarget:
    """What is asked for of a server."""

    application: str
    tc_url: str = field(repr=False)
    """The application's address, by its name, as servers with many names tell them apart."""
    name: str = field(repr=False)
    """The stream, with the query that may be its token."""


def rtmp_target(url: str) -> RtmpTarget:
    """What ``url`` asks for.

    The application is the first element of the path, or the first two if there are three or more, as in FFmpeg.

    :raises StreamError: UNSUPPORTED, where no stream is named.
    """
    parts: SplitResult = urlsplit(url)
    elements = [element for element in parts.path.split("/") if element]
    if len(elements) < 2:
        raise StreamError(StreamReason.UNSUPPORTED, "the address names no stream", retryable=False)
    count = 2 if len(elements) > 2 else 1
    application = "/".join(elements[:count])
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = f":{parts.port}" if parts.port else ""
    query = f"?{parts.query}" if parts.query else ""
    return RtmpTarget(
        application=application,
        tc_url=f"{parts.scheme}://{host}{port}/{application}",
        name="/".join(elements[count:]) + query,
    )


class RtmpSession:
    """Says what a player says, and gives out the video that comes.

    :param keyframes_only: leave all other pictures out.
    """

    def __init__(self, target: RtmpTarget, *, keyframes_only: bool) -> None:
        self._target = target
        self._video = FlvVideo(keyframes_only=keyframes_only)
        self._chunks = wire.ChunkReader(
            most_bytes=MOST_TAG_BYTES,
            unwanted=frozenset((wire.SOUND, wire.DATA)),
            wants=self._video.wants if keyframes_only else None,
        )
        self._hello = os.urandom(_HANDSHAKE - 8)
        self._greeting: bytearray | None = bytearray()
        self._greeted = False
        self._window = _WINDOW_BYTES
        self._received = 0
        self._acknowledged = 0
        self._stream = 0
        self.to_send = bytearray([_VERSION]) + bytes(8) + self._hello
        """What is to be sent to the server next; whoever sends it clears it."""
        self.ending: StreamError | None = None
        """Why the server's words ended this, once they have: nothing more is to be received."""

    @property
    def has_sound(self) -> bool:
        """Whether any sound came."""
        return self._chunks.has_sound

    @property
    def messages(self) -> int:
        """How many messages began so far."""
        return self._chunks.messages

    def receive(self, data: bytes, received_at: datetime) -> list[Item]:
        """The video in the messages that ``data`` brings to an end.

        :param received_at: UTC at which ``data`` came.
        :raises StreamError: BAD_DATA, TOO_LARGE, UNSUPPORTED: it cannot be read on.
        """
        self._received += len(data)
        if self._greeting is not None:
            self._greeting += data
            data = self._shake_hands(self._greeting)
        items: list[Item] = []
        tags = said = 0
        for message in self._chunks.feed(data):
            if message.kind == wire.VIDEO:
                if (item := self._video.read(message.parts, message.time_ms, received_at)) is not None:
                    items.append(item)
            elif message.kind == wire.AGGREGATE:
                tags += self._take_apart(message, items, received_at)
                if tags > MOST_AT_ONCE:
                    raise StreamError(StreamReason.BAD_DATA, "more tags at once than any room sends")
            else:
                said += sum(map(len, message.parts))
                if said > _MOST_SAID:
                    raise StreamError(StreamReason.BAD_DATA, "more commands at once than any server says")
                try:
                    self._obey(message)
                except StreamError as err:
                    # What came before it is given out all the same.
                    self.ending = err
                    break
        if self._received - self._acknowledged >= self._window:
            self._acknowledged = self._received
            self._send(wire.ACKNOWLEDGEMENT, (self._received & 0xFFFFFFFF).to_bytes(4, "big"))
        return items

    def _shake_hands(self, greeting: bytearray) -> bytes:
        """Answer the server's half of the handshake; what stands behind it, once all of it is here."""
        if greeting and greeting[0] != _VERSION:
            raise StreamError(StreamReason.BAD_DATA, "the server does not speak RTMP")
        if not self._greeted and len(greeting) > _HANDSHAKE:
            self._greeted = True
            self.to_send += greeting[1 : 1 + _HANDSHAKE]
            self._connect()
        if len(greeting) < 1 + 2 * _HANDSHAKE:
            return b""
        self._greeting = None
        return bytes(greeting[1 + 2 * _HANDSHAKE :])

    def _connect(self) -> None:
        wanted: dict[str, AmfValue] = {
            "app": self._target.application,
            "flashVer": _FLASH_VERSION,
            "tcUrl": self._target.tc_url,
            "fpad": False,
            "capabilities": 15.0,
            "audioCodecs": 4071.0,
            "videoCodecs": 252.0,
            "videoFunction": 1.0,
            "fourCcList": _FOURCC,
        }
        self._send(wire.COMMAND, encode_amf("connect", _CONNECT, wanted))

    def _take_apart(self, aggregate: wire.Message, items: list[Item], received_at: datetime) -> int:
        """Give out the video in ``aggregate``; how many tags it held."""
        first: int | None = None
        tags = tags_within(aggregate.body)
        for kind, time_ms, body in tags:
            first = time_ms if first is None else first
            if kind != wire.VIDEO:
                continue
            # The first of them is at the aggregate's time, whatever its own says.
            moment = (aggregate.time_ms + time_ms - first) % (1 << 32)
            if (item := self._video.read([body], moment, received_at)) is not None:
                items.append(item)
        return len(tags)

    def _obey(self, message: wire.Message) -> None:
        body = message.body
        if message.kind == wire.WINDOW_SIZE:
            self._window = max(1, int.from_bytes(body[:4], "big"))
        elif message.kind == wire.PEER_BANDWIDTH:
            self._send(wire.WINDOW_SIZE, body[:4].ljust(4, b"\x00"))
        elif message.kind == wire.USER_CONTROL:
            self._control(int.from_bytes(body[:2], "big"), body[2:])
        elif message.kind == wire.COMMAND:
            self._command(*decode_command(body))
        elif message.kind == wire.COMMAND_3:
            # Behind a byte that says so, its values are AMF0 all the same.
            self._command(*decode_command(body[1:]))

    def _control(self, event: int, rest: bytes) -> None:
        if event == _PING:
            self._send(wire.USER_CONTROL, _PONG.to_bytes(2, "big") + rest[:4])
        elif event == _STREAM_EOF and self._stream and int.from_bytes(rest[:4], "big") == self._stream:
            raise _refusal(StreamReason.CLOSED_BY_PEER)

    def _command(self, name: str, transaction: float, arguments: tuple[AmfValue, ...]) -> None:
        if name == "_result" and transaction == _CONNECT and not self._stream:
            self._send(wire.WINDOW_SIZE, _WINDOW_BYTES.to_bytes(4, "big"))
            self._send(wire.COMMAND, encode_amf("createStream", _CREATE_STREAM, None))
        elif name == "_result" and transaction == _CREATE_STREAM and not self._stream:
            self._play(arguments[1] if len(arguments) > 1 else None)
        elif name in ("_error", "onStatus"):
            said = _said(arguments)
            reason = _REFUSALS.get(said.get("code", ""))
            if reason is not None:
                raise _refusal(reason)
            if name == "_error" or said.get("level") == "error":
                # A server that refuses to make a stream, or for a reason of its own.
                raise _refusal(StreamReason.FORBIDDEN if transaction == _CONNECT else StreamReason.NOT_FOUND)
        elif name == "close":
            raise _refusal(StreamReason.CLOSED_BY_PEER)

    def _play(self, stream: AmfValue) -> None:
        if not isinstance(stream, float) or not 1 <= stream < 1 << 32:
            raise StreamError(StreamReason.BAD_DATA, "the server opened no stream")
        self._stream = int(stream)
        number = self._stream.to_bytes(4, "big")
        self._send(wire.COMMAND, encode_amf("play", _PLAY, None, self._target.name, _LIVE), stream=self._stream)
        self._send(wire.USER_CONTROL, _SET_BUFFER.to_bytes(2, "big") + number + _BUFFER_MS.to_bytes(4, "big"))

    def _send(self, kind: int, body: bytes, *, stream: int = 0) -> None:
        self.to_send += wire.chunked(kind, body, stream=stream, chunk_size=wire.DEFAULT_CHUNK_SIZE)


def _said(arguments: tuple[AmfValue, ...]) -> dict[str, str]:
    """The texts in the last object among a status's arguments."""
    found = next((value for value in reversed(arguments) if isinstance(value, Mapping)), {})
    return {name: text for name, text in found.items() if isinstance(text, str)}


def _refusal(reason: StreamReason) -> StreamError:
    return StreamError(reason, _WORDS[reason])
