"""HTTP-FLV and other containers over HTTP: our own client reads, libav demuxes."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import CancelledError, Future
from contextlib import AsyncExitStack

import aiohttp
import av
from av.container import InputContainer

from monitor.errors import StreamError, StreamReason
from monitor.streams.config import StreamsConfig
from monitor.streams.http import MeteredBody, translated
from monitor.streams.libav import FIRST_PROBE_S, LibavReading, av_options
from monitor.streams.packet import PacketSink
from monitor.streams.reach import Reach

_REPLAY_BYTES = 8_000_000


class HttpInput:
    """A body that our own HTTP client reads and libav demuxes: libav itself opens no connection.

    libav asks for bytes in its thread; they are read on the loop, where aiohttp keeps them flowing no faster
    than they are asked for.
    """

    live = True

    def __init__(
        self, content: MeteredBody, loop: asyncio.AbstractEventLoop, config: StreamsConfig, *, paced: bool
    ) -> None:
        self.paced = paced
        self._content = content
        self._loop = loop
        self._config = config
        self._deadline = 0.0
        self._late = StreamReason.OPEN_TIMEOUT
        self._head: bytearray | None = bytearray()
        self._position = 0
        self._waiting: Future[bytes] | None = None
        self._aborted = False

    def open(self, probe_s: float) -> InputContainer:
        """Demux from the first byte; what an earlier look has read is read again from memory."""
        self._position = 0
        self._deadline = time.monotonic() + self._config.open_timeout_s
        return av.open(self, mode="r", options=av_options(probe_s, "file"))

    def expect_packet(self) -> None:
        """The whole packet must be here within the read timeout, however it drips."""
        self._head = None
        self._late = StreamReason.READ_TIMEOUT
        self._deadline = time.monotonic() + self._config.packet_timeout_s

    def abort(self) -> None:
        """Every read from now on fails at once."""
        self._aborted = True
        if self._waiting is not None:
            self._waiting.cancel()

    def read(self, size: int) -> bytes:
        """At least one byte, at most ``size``; none at the end.

        :raises StreamError: after the deadline, or when the connection broke.
        """
        if self._head is not None and self._position < len(self._head):
            data = bytes(self._head[self._position : self._position + size])
        else:
            data = self._next(size)
            if self._head is not None and len(self._head) < _REPLAY_BYTES:
                self._head += data
        self._position += len(data)
        return data

    def _next(self, size: int) -> bytes:
        waiting = asyncio.run_coroutine_threadsafe(self._content.read(size), self._loop)
        self._waiting = waiting
        if self._aborted:
            waiting.cancel()
        try:
            return waiting.result(timeout=max(0.0, self._deadline - time.monotonic()))
        except TimeoutError as err:
            waiting.cancel()
            raise StreamError(self._late) from err
        except CancelledError:
            # The run was cancelled. An error would be printed by PyAV, which drops it while it closes.
            return b""
        except (aiohttp.ClientError, OSError) as err:
            raise translated(err) from err


class HttpSource:
    """A room as HTTP-FLV, or a recording in another container over HTTP."""

    cadence_s = 0.0

    def __init__(self, url: str, reach: Reach, *, paced: bool) -> None:
        self._url = url
        self._reach = reach
        self._paced = paced
        self._finished: tuple[str | None, ...] | None = None

    async def run(self, sink: PacketSink) -> None:
        """Read to the end; returns at once for a recording that was read before and has not changed.

        :raises StreamError: the reason; CLOSED_BY_PEER when a live room is over.
        """
        async with AsyncExitStack() as stack:
            response = await stack.enter_async_context(self._reach.http.open(self._url))
            if "mpegurl" in response.headers.get("Content-Type", "").lower():
                raise StreamError(
                    StreamReason.UNSUPPORTED, "an HLS playlist whose path does not end in .m3u8", retryable=False
                )
            version = tuple(response.headers.get(name) for name in ("ETag", "Last-Modified", "Content-Length"))
            # Without any of these nothing tells a recording from a room that is on the air again.
            if any(version) and version == self._finished:
                return
            config = self._reach.config
            content = self._reach.http.metered(response.content)
            source = HttpInput(content, asyncio.get_running_loop(), config, paced=self._paced)
            reading = LibavReading(
                source,
                self._reach.clock,
                FIRST_PROBE_S,
                config.open_timeout_s,
                keyframes_only=not config.ring_s,
            )
            await reading.run(sink)
            self._finished = version
