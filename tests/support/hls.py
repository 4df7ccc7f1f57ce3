"""HTTP servers on loopback: live and recorded HLS, and answers that are wrong in chosen ways."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpServer:
    """Routes that can be added while it runs; counts the requests for each path."""

    def __init__(self) -> None:
        self.base = ""
        self.requests: dict[str, int] = {}
        self._routes: dict[str, Handler] = {}
        self.fallback: Handler | None = None
        """Answers every path that has no route; 404 without it."""

    def url(self, path: str) -> str:
        """The address of ``path``."""
        return f"{self.base}{path}"

    def route(self, path: str, handler: Handler) -> str:
        """Answer ``path`` with ``handler``; its address."""
        self._routes[path] = handler
        return self.url(path)

    def serve(self, path: str, body: bytes | str, *, status: int = 200, headers: dict[str, str] | None = None) -> str:
        """Answer ``path`` with ``body`` (ranges are honoured); its address."""
        data = body.encode() if isinstance(body, str) else body

        async def answer(request: web.Request) -> web.Response:
            asked = request.http_range
            if asked.start is not None and status == 200:
                return web.Response(body=data[asked], status=206, headers=headers)
            return web.Response(body=data, status=status, headers=headers)

        return self.route(path, answer)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests[request.path] = self.requests.get(request.path, 0) + 1
        handler = self._routes.get(request.path, self.fallback)
        return await handler(request) if handler else web.Response(status=404)


@asynccontextmanager
async def http_server() -> AsyncIterator[HttpServer]:
    """An HttpServer on a free port of 127.0.0.1."""
    server = HttpServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server._answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


def playlist(
    names: Sequence[str], *, segment_s: float = 1.0, first: int = 0, ended: bool = False, init: str | None = None
) -> str:
    """A media playlist."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", f"#EXT-X-TARGETDURATION:{max(1, round(segment_s))}"]
    lines.append(f"#EXT-X-MEDIA-SEQUENCE:{first}")
    if init:
        lines.append(f'#EXT-X-MAP:URI="{init}"')
    for name in names:
        lines += [f"#EXTINF:{segment_s:.3f},", name]
    return "\n".join([*lines, "#EXT-X-ENDLIST"] if ended else lines) + "\n"


class LiveHls:
    """A live room: a window over ``segments`` that moves on in real time, and stays at the end."""

    def __init__(
        self,
        server: HttpServer,
        segments: Sequence[bytes],
        *,
        name: str = "live",
        segment_s: float = 1.0,
        window: int = 3,
    ) -> None:
        self._segments = segments
        self._segment_s = segment_s
        self._window = window
        self._name = name
        self._started = time.monotonic()
        self.ended = False
        for index, data in enumerate(segments):
            server.serve(f"/{name}/{index}.ts", data)
        self.url = server.route(f"/{name}/index.m3u8", self._playlist)

    @property
    def edge(self) -> int:
        """Index of the newest segment."""
        return min(len(self._segments) - 1, int((time.monotonic() - self._started) / self._segment_s))

    async def _playlist(self, _: web.Request) -> web.Response:
        first = max(0, self.edge - self._window + 1)
        names = [f"{index}.ts" for index in range(first, self.edge + 1)]
        return web.Response(text=playlist(names, segment_s=self._segment_s, first=first, ended=self.ended))


@asynccontextmanager
async def tcp_server(
    speak: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    host: str = "127.0.0.1",
) -> AsyncIterator[int]:
    """A TCP server whose connections are handled by ``speak``; its port."""
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            talks.add(task)
        with suppress(ConnectionError, asyncio.CancelledError):
            await speak(reader, writer)
        writer.close()

    server = await asyncio.start_server(talk, host, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


async def silent(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """Accepts and never speaks."""
    await asyncio.Event().wait()


def dripping(head: bytes, body: bytes, every_s: float = 1.0) -> Callable[..., Awaitable[None]]:
    """Sends ``head``, then ``body`` byte by byte."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(head)
        for byte in body:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(every_s)

    return speak
