"""Containers over HTTP that only libav knows: our own client reads, libav demuxes in a thread."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import CancelledError, Future

import aiohttp
import av
from av.container import InputContainer

from monitor.errors import StreamError, StreamReason
from monitor.streams.config import StreamsConfig
from monitor.streams.http import MeteredBody, translated
from monitor.streams.libav import av_options

_REPLAY_BYTES = 8_000_000


class HttpInput:
    """A body that our own HTTP client reads and libav demuxes: libav itself opens no connection.

    libav asks for bytes in its thread; they are read on the loop, where aiohttp keeps them flowing no faster
    than they are asked for.

    :param head: what was read of the body before.
    """

    live = True

    def __init__(
        self, head: bytes, content: MeteredBody, loop: asyncio.AbstractEventLoop, config: StreamsConfig, *, paced: bool
    ) -> None:
        self.paced = paced
        self._content = content
        self._loop = loop
        self._config = config
        self._deadline = 0.0
        self._late = StreamReason.OPEN_TIMEOUT
        self._head: bytearray | None = bytearray(head)
        self._is_recording = True
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
        self._is_recording = False
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
            if not self._is_recording:
                # All of it was read again, and nothing will be once more.
                self._head = None
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
