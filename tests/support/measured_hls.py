"""A live HLS room that counts requests and bytes, honours ranges and fails on demand."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from aiohttp import web
from support.hls import HttpServer, playlist


@dataclass
class MeasuredRoom:
    """Segments appear one after the other, ``speed`` times as fast as their clock says."""

    server: HttpServer
    segments: Sequence[bytes]
    name: str = "room"
    segment_s: float = 2.0
    speed: float = 1.0
    window: int = 4
    first: int = 2
    """Segments that are there at the start."""
    ranges: bool = True
    most_part: int | None = None
    """Bytes of a part that are sent at the most."""
    says_total: bool = True
    """Parts come with a Content-Range."""
    prefix: str = ""
    """Lines before the segments."""
    fails: Callable[[str], int | None] = lambda path: None
    """HTTP status to fail with, by the path's last part; None to answer."""
    sent: dict[str, int] = field(default_factory=dict)
    """Bytes sent of each path's last part."""
    asked: list[tuple[str, bool]] = field(default_factory=list)
    """Last part of each segment's path, and whether a part of it was asked for."""
    headers: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        for index, data in enumerate(self.segments):
            self.server.route(f"/{self.name}/{index}.ts", self._segment(f"{index}.ts", data))
        self.url = self.server.route(f"/{self.name}/index.m3u8", self._playlist)

    @property
    def edge(self) -> int:
        """Index of the newest segment."""
        passed = (time.monotonic() - self.started) * self.speed / self.segment_s
        return min(len(self.segments) - 1, self.first - 1 + int(passed))

    @property
    def bytes_sent(self) -> int:
        """Of segments."""
        return sum(self.sent.values())

    async def _playlist(self, _: web.Request) -> web.Response:
        if status := self.fails("index.m3u8"):
            return web.Response(status=status)
        first = max(0, self.edge - self.window + 1)
        text = playlist([f"{i}.ts" for i in range(first, self.edge + 1)], segment_s=self.segment_s, first=first)
        return web.Response(text=text.replace("#EXTINF", f"{self.prefix}#EXTINF", 1))

    def _segment(self, name: str, data: bytes) -> Callable[[web.Request], object]:
        async def answer(request: web.Request) -> web.Response:
            asked = request.http_range
            self.asked.append((name, asked.start is not None))
            if status := self.fails(name):
                return web.Response(status=status)
            part = asked.start is not None and self.ranges
            if part and asked.start >= len(data):
                return web.Response(status=416)
            body = data[asked][: self.most_part] if part else data
            self.sent[name] = self.sent.get(name, 0) + len(body)
            headers = {}
            if part and self.says_total:
                headers["Content-Range"] = f"bytes {asked.start}-{asked.start + len(body) - 1}/{len(data)}"
            return web.Response(body=body, status=206 if part else 200, headers=headers)

        return answer
