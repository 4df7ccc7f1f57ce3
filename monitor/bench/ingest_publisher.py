"""Publishes one room to many viewers over HLS and RTMP on loopback, and counts what each group of viewers is sent.

A process of its own, so that its work is not counted as anybody's: ``python -m monitor.bench.ingest_publisher``. Its
first line of input says what to publish; it answers with a line that says where, and ends when its input ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

from aiohttp import web

from monitor.bench.ingest_clips import GOP_S, RENDITIONS
from monitor.bench.rtmp_fan import RtmpFan
from monitor.clock import SystemClock
from monitor.demo.broadcast import Broadcast
from monitor.demo.clip import Clip, load_clip
from monitor.demo.live_hls import playlist, published_segments
from monitor.demo.live_rtmp import LiveRtmp
from monitor.demo.loopback import LoopbackServer
from monitor.demo.segments import SegmentCutter

RTMP_PHASES = 10
"""Rooms of each group; they differ in when their keyframes come."""

_ON_AIR_FOR_S = 20.0
_KEPT = 12
_SLICE = 1 << 16
_GOLDEN = 0.618
"""Phases at multiples of the golden section lie evenly, however many there are."""


class HlsPublisher:
    """``/{group}/{number}/master.m3u8`` for any group and number; rooms differ only in when their segments come."""

    def __init__(self, clips: Mapping[int, Clip]) -> None:
        self.sent: Counter[str] = Counter()
        """Bytes of answers, heads included, by group."""
        self._cutters = {height: SegmentCutter(clip) for height, clip in clips.items()}
        self._broadcast = Broadcast.begin(next(iter(clips.values())), SystemClock(), _ON_AIR_FOR_S)
        self._ready: OrderedDict[tuple[int, int], asyncio.Future[bytes]] = OrderedDict()

    def serve_on(self, server: LoopbackServer) -> None:
        """Add the routes."""
        room = "/{group}/{number:[0-9]+}"
        server.add_get(f"{room}/master.m3u8", self._master)
        server.add_get(f"{room}/{{height:[0-9]+}}/index.m3u8", self._media)
        server.add_get(f"{room}/{{height:[0-9]+}}/{{sequence:[0-9]+}}.ts", self._segment)

    async def _master(self, request: web.Request) -> web.StreamResponse:
        lines = ["#EXTM3U"]
        for one in RENDITIONS:
            lines.append(f"#EXT-X-STREAM-INF:BANDWIDTH={one.bit_rate},RESOLUTION={one.width}x{one.height}")
            lines.append(f"{one.height}/index.m3u8")
        return await self._send(request, "\n".join(lines).encode() + b"\n")

    async def _media(self, request: web.Request) -> web.StreamResponse:
        cutter = self._cutter(request)
        text = playlist(
            cutter.durations_s,
            published=self._published(request, cutter),
            first_sequence=0,
            restarts=0,
            utc_at=self._broadcast.utc_at,
        )
        return await self._send(request, text.encode())

    async def _segment(self, request: web.Request) -> web.StreamResponse:
        number = int(request.match_info["sequence"])
        cutter = self._cutter(request)
        newest = self._published(request, cutter) - 1
        if not newest - _KEPT // 2 < number <= newest:
            raise web.HTTPNotFound
        height = int(request.match_info["height"])
        made = self._ready.get((height, number))
        if made is None:
            made = asyncio.ensure_future(asyncio.to_thread(cutter.segment, number))
            self._ready[height, number] = made
            while len(self._ready) > _KEPT * len(self._cutters):
                self._ready.popitem(last=False)
        return await self._send(request, await asyncio.shield(made))

    def _cutter(self, request: web.Request) -> SegmentCutter:
        cutter = self._cutters.get(int(request.match_info["height"]))
        if cutter is None:
            raise web.HTTPNotFound
        return cutter

    def _published(self, request: web.Request, cutter: SegmentCutter) -> int:
        late_s = int(request.match_info["number"]) * _GOLDEN % 1 * GOP_S
        on_air_s = SystemClock().monotonic() - self._broadcast.started_at
        return published_segments(cutter.durations_s, on_air_s - late_s)

    async def _send(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """The body, or the part of it that was asked for; what a viewer that hangs up was not sent is not counted."""
        wanted = request.http_range
        part = body[wanted] if wanted.start is not None else body
        response = web.StreamResponse(status=200 if part is body else 206, headers={"Accept-Ranges": "bytes"})
        if part is not body:
            start, end, _ = wanted.indices(len(body))
            response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(body)}"
        response.content_length = len(part)
        await response.prepare(request)
        group = request.match_info["group"]
        self.sent[group] += 17 + sum(len(name) + len(value) + 4 for name, value in response.headers.items())
        for start in range(0, len(part), _SLICE):
            piece = part[start : start + _SLICE]
            await response.write(piece)
            self.sent[group] += len(piece)
        await response.write_eof()
        return response


async def _publish(clips: Mapping[int, Path], rtmp_groups: Sequence[str]) -> None:
    loaded = {height: load_clip(path) for height, path in clips.items()}
    server = LoopbackServer()
    hls = HlsPublisher(loaded)
    hls.serve_on(server)
    fan = RtmpFan()

    async def sent(_: web.Request) -> web.Response:
        return web.json_response(dict(hls.sent + fan.sent))

    server.add_get("/sent", sent)
    await server.start()
    async with LiveRtmp(play=fan.play) as rtmp:
        for group in rtmp_groups:
            for phase in range(RTMP_PHASES):
                late_s = phase * GOP_S / RTMP_PHASES
                await rtmp.add(f"{group}.{phase}", loaded[max(loaded)], on_air_for_s=_ON_AIR_FOR_S - late_s)
        print(json.dumps({"http": server.base_url, "rtmp": rtmp.base_url}), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        # The bench has ended, and viewers may still be there.
        os._exit(0)


def main() -> None:
    """Publish what the first line of input names."""
    wanted = json.loads(sys.stdin.readline())
    clips = {int(height): Path(path) for height, path in wanted["clips"].items()}
    asyncio.run(_publish(clips, wanted["rtmp_groups"]))


if __name__ == "__main__":
    main()
