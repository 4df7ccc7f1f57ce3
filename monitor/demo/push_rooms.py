"""Rooms of which every viewer is sent each picture when it is due: what HTTP-FLV and RTMP share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from monitor.clock import Clock
from monitor.demo.broadcast import Broadcast
from monitor.demo.clip import Clip
from monitor.demo.flv import FlvClip, flv_clip
from monitor.errors import MonitorError


@dataclass(frozen=True, slots=True, kw_only=True)
class DuePicture:
    """One encoded picture that is on the air now."""

    time_ms: int
    """Stream time at which it is sent; counts on over the clip's repetitions."""
    body: bytes = field(repr=False)
    """Body of its FLV video tag."""
    is_keyframe: bool


@dataclass(slots=True)
class PushRoom:
    """One room. Used on one event loop only."""

    name: str
    clip: Clip
    flv: FlvClip
    clock: Clock
    broadcast: Broadcast | None
    """None while the room is off the air."""

    async def pictures(self) -> AsyncIterator[DuePicture]:
        """From the last keyframe on, each when it is due; ends when the room goes off the air."""
        broadcast = self.broadcast
        if broadcast is None:
            return
        for due_s, index in broadcast.pictures_from(self.clock.monotonic() - broadcast.started_at):
            await asyncio.sleep(max(0.0, broadcast.started_at + due_s - self.clock.monotonic()))
            if self.broadcast is not broadcast:
                return
            yield DuePicture(
                time_ms=round(due_s * 1000),
                body=self.flv.pictures[index],
                is_keyframe=self.clip.packets[index].is_keyframe,
            )


class PushRooms:
    """The rooms of one server, by name."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rooms: dict[str, PushRoom] = {}

    async def add(self, name: str, clip: Clip, on_air_for_s: float) -> None:
        """Start a room.

        :raises MonitorError: when there is a room of that name.
        """
        if name in self._rooms:
            raise MonitorError(f"room {name}: there is one of that name already")
        flv = await asyncio.to_thread(flv_clip, clip)
        broadcast = Broadcast.begin(clip, self._clock, on_air_for_s)
        self._rooms[name] = PushRoom(name=name, clip=clip, flv=flv, clock=self._clock, broadcast=broadcast)

    def on_air(self, name: str) -> PushRoom | None:
        """The room, or None when there is none or it was stopped."""
        room = self._rooms.get(name)
        return room if room and room.broadcast else None

    def stop(self, name: str) -> None:
        """Take a room off the air; its viewers' connections end.

        :raises MonitorError: when there is no such room.
        """
        self._named(name).broadcast = None

    def stop_all(self) -> None:
        """Take every room off the air."""
        for room in self._rooms.values():
            room.broadcast = None

    def restart(self, name: str, on_air_for_s: float) -> None:
        """Start the room's clip from its beginning.

        :raises MonitorError: when there is no such room.
        """
        room = self._named(name)
        room.broadcast = Broadcast.begin(room.clip, self._clock, on_air_for_s)

    def started_at(self, name: str) -> float:
        """Monotonic seconds at which stream time 0 of the room went on the air.

        :raises MonitorError: when there is no such room, or it is off the air.
        """
        broadcast = self._named(name).broadcast
        if broadcast is None:
            raise MonitorError(f"room {name}: it is off the air")
        return broadcast.started_at

    def _named(self, name: str) -> PushRoom:
        try:
            return self._rooms[name]
        except KeyError:
            raise MonitorError(f"room {name}: there is no such room") from None
