"""Publishes clips as live RTMP rooms on loopback: a server that only lets viewers play."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from monitor.clock import Clock, SystemClock
from monitor.demo.clip import Clip
from monitor.demo.push_rooms import PushRoom, PushRooms
from monitor.errors import MonitorError
from monitor.streams import rtmp_chunks as wire
from monitor.streams.amf import AmfValue, decode_command, encode_amf

_PLAYED_STREAM = 1
_HANDSHAKE_SIZE = 1536
_MOST_BYTES = 65536
"""Of one message of a viewer."""
_WINDOW_BYTES = 5_000_000
_BEGIN = 0

Play = Callable[[PushRoom, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Sends a room to one viewer until either leaves."""


class LiveRtmp:
    """An RTMP server on 127.0.0.1. To be used with ``async with``, on one event loop.

    A viewer gets the decoder's configuration and the pictures from the last keyframe on, then each picture when it
    is due.
    """

    def __init__(self, clock: Clock | None = None, *, play: Play | None = None) -> None:
        """``play`` serves a viewer whose commands were answered; by default each is sent its own pictures."""
        self._rooms = PushRooms(clock or SystemClock())
        self._play = play or play_alone
        self._server: asyncio.Server | None = None
        self._port = 0
        self._viewers: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for viewer in self._viewers:
            viewer.cancel()
        await asyncio.gather(*self._viewers, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def base_url(self) -> str:
        """What the URLs of all rooms begin with, without a slash at the end; once started."""
        return f"rtmp://127.0.0.1:{self._port}/live"

    async def add(self, name: str, clip: Clip, *, on_air_for_s: float = 0.0) -> str:
        """Start a room that has been live for ``on_air_for_s`` already.

        :return: its URL.
        :raises MonitorError: when there is a room of that name.
        """
        await self._rooms.add(name, clip, on_air_for_s)
        return f"{self.base_url}/{name}"

    def stop(self, name: str) -> None:
        """Take a room off the air: connections end, new viewers are told that there is no such stream.

        :raises MonitorError: when there is no such room.
        """
        self._rooms.stop(name)

    def restart(self, name: str, *, on_air_for_s: float = 0.0) -> None:
        """Start the room's clip from its beginning.

        :raises MonitorError: when there is no such room.
        """
        self._rooms.restart(name, on_air_for_s)

    def started_at(self, name: str) -> float:
        """Monotonic seconds at which stream time 0 of the room went on the air.

        :raises MonitorError: when there is no such room, or it is off the air.
        """
        return self._rooms.started_at(name)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        viewer = asyncio.create_task(self._serve(reader, writer))
        self._viewers.add(viewer)
        viewer.add_done_callback(self._viewers.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The viewer left, or sent what none sends: either way only its own connection ends.
        with suppress(ConnectionError, asyncio.IncompleteReadError, MonitorError):
            try:
                await _shake_hands(reader, writer)
                room = await self._negotiate(reader, writer)
                if room is not None:
                    await self._play(room, reader, writer)
            finally:
                writer.close()

    async def _negotiate(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> PushRoom | None:
        """Answer a viewer's commands until it plays; the room, or None when there is no such room on the air."""
        chunks = wire.ChunkReader(most_bytes=_MOST_BYTES)
        while data := await reader.read(_MOST_BYTES):
            for message in chunks.feed(data):
                if message.kind != wire.COMMAND:
                    continue
                name, transaction, arguments = decode_command(message.body)
                if name == "connect":
                    _accept_connection(writer, transaction)
                elif name == "createStream":
                    _send(writer, wire.COMMAND, encode_amf("_result", transaction, None, float(_PLAYED_STREAM)))
                elif name == "play":
                    wanted = arguments[1] if len(arguments) > 1 else None
                    return await self._let_play(wanted, writer)
        return None

    async def _let_play(self, wanted: AmfValue, writer: asyncio.StreamWriter) -> PushRoom | None:
        """Tell a viewer whether it will see the room that it asked for."""
        room = self._rooms.on_air(wanted.partition("?")[0]) if isinstance(wanted, str) else None
        code = "NetStream.Play.Start" if room else "NetStream.Play.StreamNotFound"
        status = {"level": "status" if room else "error", "code": code, "description": code}
        begin = _BEGIN.to_bytes(2, "big") + _PLAYED_STREAM.to_bytes(4, "big")
        _send(writer, wire.USER_CONTROL, begin)
        _send(writer, wire.COMMAND, encode_amf("onStatus", 0.0, None, status), stream=_PLAYED_STREAM)
        await writer.drain()
        return room


async def _shake_hands(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    hello = await reader.readexactly(1 + _HANDSHAKE_SIZE)
    # A version of zero tells the viewer that there is no digest to check.
    writer.write(hello[:1] + bytes(8) + os.urandom(_HANDSHAKE_SIZE - 8) + hello[1:])
    await writer.drain()
    await reader.readexactly(_HANDSHAKE_SIZE)


def _accept_connection(writer: asyncio.StreamWriter, transaction: float) -> None:
    code = "NetConnection.Connect.Success"
    server: dict[str, AmfValue] = {"fmsVer": "FMS/3,0,1,123", "capabilities": 31.0}
    status: dict[str, AmfValue] = {"level": "status", "code": code, "description": code, "objectEncoding": 0.0}
    _send(writer, wire.WINDOW_SIZE, _WINDOW_BYTES.to_bytes(4, "big"))
    _send(writer, wire.PEER_BANDWIDTH, _WINDOW_BYTES.to_bytes(4, "big") + b"\x02")
    _send(writer, wire.SET_CHUNK_SIZE, wire.CHUNK_SIZE.to_bytes(4, "big"))
    _send(writer, wire.COMMAND, encode_amf("_result", transaction, server, status))


def media_chunks(kind: int, body: bytes, time_ms: int) -> bytes:
    """A script or video message of the stream that is played, as it goes over the wire."""
    return wire.chunked(kind, body, stream=_PLAYED_STREAM, time_ms=time_ms)


async def play_alone(room: PushRoom, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send the room until it goes off the air or the viewer leaves."""
    writer.write(media_chunks(wire.DATA, room.flv.metadata, 0))
    writer.write(media_chunks(wire.VIDEO, room.flv.sequence_header, 0))
    async for picture in room.pictures():
        # A viewer that left is seen here; one that says more is not listened to.
        if reader.at_eof():
            return
        writer.write(media_chunks(wire.VIDEO, picture.body, picture.time_ms))
        await writer.drain()


def _send(writer: asyncio.StreamWriter, kind: int, body: bytes, *, stream: int = 0) -> None:
    writer.write(wire.chunked(kind, body, stream=stream))
