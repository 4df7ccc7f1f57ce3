"""Publishes clips as live HLS rooms on loopback, as a streaming server would."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Self

from aiohttp import web

from monitor.clock import Clock, SystemClock, iso_utc
from monitor.demo.broadcast import Broadcast
from monitor.demo.clip import Clip
from monitor.demo.loopback import LoopbackServer
from monitor.demo.segments import SegmentCutter
from monitor.errors import MonitorError

WINDOW = 4
"""Segments in a playlist."""
_KEPT = WINDOW + 2
"""Segments held in memory for each room; a client with an old playlist still finds what it names."""
_PLAYLIST_TYPE = "application/vnd.apple.mpegurl"


@dataclass(slots=True)
class _Room:
    cutter: SegmentCutter
    broadcast: Broadcast
    first_sequence: int = 0
    """Sequence number of the broadcast's first segment; a restarted room counts on."""
    restarts: int = 0
    stopped_at: float | None = None
    gone: bool = False
    ready: OrderedDict[int, bytes] = field(default_factory=OrderedDict)
    making: asyncio.Lock = field(default_factory=asyncio.Lock)


class LiveRooms:
    """An HLS server on 127.0.0.1 whose rooms can be started, stopped and started again.

    A segment appears in the playlist when its last picture has been on the air; segments are cut off the event loop
    and at most six of a room are held. To be used with ``async with``, on one event loop.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._rooms: dict[str, _Room] = {}
        self._server = LoopbackServer()
        self._server.add_get("/{room}/index.m3u8", self._playlist)
        self._server.add_get("/{room}/{sequence:[0-9]+}.ts", self._segment)

    async def __aenter__(self) -> Self:
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.aclose()

    async def add(self, name: str, clip: Clip, *, on_air_for_s: float = 0.0) -> str:
        """Start a room.

        :param on_air_for_s: how long the room has been live already; from 8 s its window is full at once.
        :return: the playlist's URL.
        :raises MonitorError: when there is a room of that name.
        """
        if name in self._rooms:
            raise MonitorError(f"room {name}: there is one of that name already")
        cutter = await asyncio.to_thread(SegmentCutter, clip)
        self._rooms[name] = _Room(cutter=cutter, broadcast=Broadcast.begin(clip, self._clock, on_air_for_s))
        return f"{self._server.base_url}/{name}/index.m3u8"

    def stop(self, name: str, *, frozen: bool = False) -> None:
        """Take a room off the air.

        :param frozen: its playlist stays as it is now, as when an encoder hangs; else it answers 404.
        :raises MonitorError: when there is no such room.
        """
        room = self._named(name)
        room.stopped_at = self._clock.monotonic()
        room.gone = not frozen

    def restart(self, name: str, *, on_air_for_s: float = 0.0) -> None:
        """Start the room's clip from its beginning: a new stream time, marked as a discontinuity.

        :raises MonitorError: when there is no such room.
        """
        room = self._named(name)
        room.first_sequence += self._published(room)
        room.restarts += 1
        room.broadcast = Broadcast.begin(room.broadcast.clip, self._clock, on_air_for_s)
        room.stopped_at, room.gone = None, False
        room.ready.clear()

    def started_at(self, name: str) -> float:
        """Monotonic seconds at which stream time 0 of the room went on the air; lies in the past with ``on_air_for_s``.

        :raises MonitorError: when there is no such room.
        """
        return self._named(name).broadcast.started_at

    def _named(self, name: str) -> _Room:
        try:
            return self._rooms[name]
        except KeyError:
            raise MonitorError(f"room {name}: there is no such room") from None

    def _published(self, room: _Room) -> int:
        """How many segments of the current broadcast are complete."""
        now = self._clock.monotonic() if room.stopped_at is None else room.stopped_at
        return published_segments(room.cutter.durations_s, now - room.broadcast.started_at)

    async def _playlist(self, request: web.Request) -> web.Response:
        room = self._rooms.get(request.match_info["room"])
        published = self._published(room) if room else 0
        if room is None or room.gone or not published:
            raise web.HTTPNotFound
        text = playlist(
            room.cutter.durations_s,
            published=published,
            first_sequence=room.first_sequence,
            restarts=room.restarts,
            utc_at=room.broadcast.utc_at,
        )
        return web.Response(text=text, content_type=_PLAYLIST_TYPE, headers={"Cache-Control": "no-store"})

    async def _segment(self, request: web.Request) -> web.Response:
        room = self._rooms.get(request.match_info["room"])
        number = int(request.match_info["sequence"])
        if room is None or room.gone:
            raise web.HTTPNotFound
        newest = self._published(room) - 1
        number -= room.first_sequence
        if not max(0, newest - _KEPT + 1) <= number <= newest:
            raise web.HTTPNotFound
        return web.Response(body=await self._made(room, number), content_type="video/mp2t")

    async def _made(self, room: _Room, number: int) -> bytes:
        async with room.making:
            data = room.ready.get(number)
            if data is None:
                data = await asyncio.to_thread(room.cutter.segment, number)
                room.ready[number] = data
                while len(room.ready) > _KEPT:
                    room.ready.popitem(last=False)
        return data


def published_segments(durations_s: tuple[float, ...], on_air_s: float) -> int:
    """How many segments are complete after ``on_air_s`` seconds of a clip that is repeated.

    :param durations_s: of the segments of one repetition.
    """
    repetitions, rest = divmod(max(0.0, on_air_s), sum(durations_s))
    count = int(repetitions) * len(durations_s)
    for duration in durations_s:
        rest -= duration
        if rest < 0:
            break
        count += 1
    return count


def playlist(
    durations_s: tuple[float, ...],
    *,
    published: int,
    first_sequence: int,
    restarts: int,
    utc_at: Callable[[float], datetime],
) -> str:
    """A live media playlist (RFC 8216) of the last four of ``published`` segments.

    :param restarts: earlier broadcasts of the room; after the first, a broadcast begins with a discontinuity.
    :param utc_at: stream seconds to UTC, for EXT-X-PROGRAM-DATE-TIME.
    """
    first = max(0, published - WINDOW)
    repetitions, within = divmod(first, len(durations_s))
    start = repetitions * sum(durations_s) + sum(durations_s[:within])
    # RFC 8216, 6.2.2: a discontinuity that has left the window is counted.
    passed = restarts if first else max(0, restarts - 1)
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:3",
        f"#EXT-X-TARGETDURATION:{max(round(duration) for duration in durations_s)}",
        f"#EXT-X-MEDIA-SEQUENCE:{first_sequence + first}",
        f"#EXT-X-DISCONTINUITY-SEQUENCE:{passed}",
    ]
    for number in range(first, published):
        duration = durations_s[number % len(durations_s)]
        if number == 0 and restarts:
            lines.append("#EXT-X-DISCONTINUITY")
        lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{iso_utc(utc_at(start))}")
        lines += [f"#EXTINF:{duration:.6f},", f"{first_sequence + number}.ts"]
        start += duration
    return "\n".join(lines) + "\n"
