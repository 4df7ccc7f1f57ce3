"""Sends each picture of a RTMP room to all of its viewers at once, so that one process can serve hundreds."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from monitor.demo.live_rtmp import media_chunks
from monitor.demo.push_rooms import PushRoom
from monitor.streams.rtmp_chunks import DATA, VIDEO

_MOST_WAITING_BYTES = 8_000_000
"""A viewer that does not read falls behind by this much at the most, and is left then."""


@dataclass(slots=True, kw_only=True)
class _Audience:
    viewers: set[asyncio.StreamWriter] = field(default_factory=set)
    gop: list[bytes] = field(default_factory=list)
    """What was sent since the last keyframe: where a new viewer begins."""
    pump: asyncio.Task[None] | None = None


class RtmpFan:
    """The way of playing for a :class:`~monitor.demo.live_rtmp.LiveRtmp`. Each picture is cut into chunks once."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        """Bytes by group: what stands before the dot in the room's name."""
        self._audiences: dict[str, _Audience] = {}

    async def play(self, room: PushRoom, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Let ``writer`` see the room until it leaves."""
        audience = self._audiences.setdefault(room.name, _Audience())
        if audience.pump is None:
            audience.pump = asyncio.create_task(self._pump(room, audience))
        head = media_chunks(DATA, room.flv.metadata, 0) + media_chunks(VIDEO, room.flv.sequence_header, 0)
        self._write(room, writer, b"".join([head, *audience.gop]))
        audience.viewers.add(writer)
        try:
            while await reader.read(_MOST_WAITING_BYTES):
                pass
        finally:
            audience.viewers.discard(writer)

    async def _pump(self, room: PushRoom, audience: _Audience) -> None:
        async for picture in room.pictures():
            data = media_chunks(VIDEO, picture.body, picture.time_ms)
            if picture.is_keyframe:
                audience.gop.clear()
            audience.gop.append(data)
            for viewer in tuple(audience.viewers):
                if viewer.transport.get_write_buffer_size() > _MOST_WAITING_BYTES:
                    viewer.transport.abort()
                else:
                    self._write(room, viewer, data)

    def _write(self, room: PushRoom, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        self.sent[room.name.partition(".")[0]] += len(data)
