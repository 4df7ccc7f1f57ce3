"""Publishes clips as live HTTP-FLV rooms on loopback."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from aiohttp import web

from monitor.clock import Clock, SystemClock
from monitor.demo.clip import Clip
from monitor.demo.flv import FILE_HEADER, SCRIPT_TAG, VIDEO_TAG, flv_tag
from monitor.demo.loopback import LoopbackServer
from monitor.demo.push_rooms import PushRooms


class LiveFlv:
    """An HTTP-FLV server on 127.0.0.1. To be used with ``async with``, on one event loop.

    A viewer gets the header, the decoder's configuration, and the pictures from the last keyframe on, then each
    picture when it is due.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._rooms = PushRooms(clock or SystemClock())
        self._server = LoopbackServer()
        self._server.add_get("/live/{room}.flv", self._watch)

    async def __aenter__(self) -> Self:
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rooms.stop_all()
        await self._server.aclose()

    async def add(self, name: str, clip: Clip, *, on_air_for_s: float = 0.0) -> str:
        """Start a room that has been live for ``on_air_for_s`` already.

        :return: its URL.
        :raises MonitorError: when there is a room of that name.
        """
        await self._rooms.add(name, clip, on_air_for_s)
        return f"{self._server.base_url}/live/{name}.flv"

    def stop(self, name: str) -> None:
        """Take a room off the air: connections end, new ones get 404.

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

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        room = self._rooms.on_air(request.match_info["room"])
        if room is None:
            raise web.HTTPNotFound
        response = web.StreamResponse(headers={"Content-Type": "video/x-flv", "Cache-Control": "no-store"})
        await response.prepare(request)
        start = FILE_HEADER + flv_tag(SCRIPT_TAG, room.flv.metadata, 0)
        await response.write(start + flv_tag(VIDEO_TAG, room.flv.sequence_header, 0))
        try:
            async for picture in room.pictures():
                await response.write(flv_tag(VIDEO_TAG, picture.body, picture.time_ms))
            await response.write_eof()
        except ConnectionResetError:
            # The viewer left.
            pass
        return response
