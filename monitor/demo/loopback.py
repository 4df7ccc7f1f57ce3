"""A small HTTP server on a free port of 127.0.0.1."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

_CLOSE_S = 1.0
"""Seconds that open answers are given to end."""


class LoopbackServer:
    """Answers requests on 127.0.0.1 only; the port is chosen by the system."""

    def __init__(self) -> None:
        self._app = web.Application()
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=_CLOSE_S)
        self._port = 0

    @property
    def base_url(self) -> str:
        """``http://127.0.0.1:PORT`` once started."""
        return f"http://127.0.0.1:{self._port}"

    def add_get(self, path: str, answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> None:
        """Answer GET requests for ``path``; before the start only."""
        self._app.router.add_get(path, answer)

    def add_post(self, path: str, answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> None:
        """Answer POST requests for ``path``; before the start only."""
        self._app.router.add_post(path, answer)

    async def start(self) -> None:
        """Listen; returns once requests are answered."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._port = self._runner.addresses[0][1]

    async def aclose(self) -> None:
        """Stop listening and end open answers; harmless when never started."""
        await self._runner.cleanup()
