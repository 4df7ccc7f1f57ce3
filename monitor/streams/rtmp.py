"""RTMP and RTMPS rooms, read on the event loop from the address that the guard checked."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Sequence
from functools import cache
from urllib.parse import urlsplit

from monitor.errors import StreamError, StreamReason
from monitor.streams.guard import DEFAULT_PORTS, Address
from monitor.streams.intake import Intake
from monitor.streams.packet import PacketSink
from monitor.streams.reach import Reach
from monitor.streams.rtmp_session import RtmpSession, rtmp_target

GATHER_S = 0.1
"""Seconds in which what a live room sends may gather before it is read: waking up costs more than reading."""
_MOST_UNSENT = 1 << 16


class RtmpSource:
    """A room on an RTMP server."""

    cadence_s = 0.0

    def __init__(self, url: str, reach: Reach) -> None:
        self._url = url
        self._reach = reach

    async def run(self, sink: PacketSink) -> None:
        """Read until the server hangs up.

        :raises StreamError: always in the end; CLOSED_BY_PEER when the room is over.
        """
        addresses = await self._reach.guard.check(self._url)
        config = self._reach.config
        session = RtmpSession(rtmp_target(self._url), keyframes_only=not config.ring_s)
        connection = _Connection(session, Intake(sink, self._reach.clock, config), self._reach)
        try:
            try:
                async with asyncio.timeout(config.open_timeout_s):
                    await self._dial(addresses, connection)
            except TimeoutError as err:
                raise StreamError(StreamReason.OPEN_TIMEOUT) from err
            await connection.ended()
        finally:
            connection.leave()

    async def _dial(self, addresses: Sequence[Address], connection: _Connection) -> None:
        """Connect to the first of ``addresses`` that answers. TLS is told the name, so nothing is resolved again.

        :raises StreamError: REFUSED, also where the certificate is not the name's.
        """
        parts = urlsplit(self._url)
        is_secure = parts.scheme == "rtmps"
        context = await asyncio.to_thread(trusting_context) if is_secure else None
        problem: OSError | None = None
        for address in addresses:
            try:
                await asyncio.get_running_loop().create_connection(
                    lambda: connection,
                    str(address),
                    parts.port or DEFAULT_PORTS[parts.scheme],
                    ssl=context,
                    server_hostname=parts.hostname if is_secure else None,
                )
            except ssl.SSLError as err:
                raise StreamError(StreamReason.REFUSED, f"TLS failed: {type(err).__name__}") from err
            except OSError as err:
                problem = err
            else:
                return
        number = problem.errno if problem else None
        raise StreamError(StreamReason.REFUSED, os.strerror(number) if number else "cannot connect") from problem


@cache
def trusting_context() -> ssl.SSLContext:
    """Verifies servers by the system's authorities. Reads them from disk at first: not on the loop."""
    return ssl.create_default_context()


class _Connection(asyncio.BufferedProtocol):
    """Feeds the session, lets video gather between two reads, and tells when it is over."""

    def __init__(self, session: RtmpSession, intake: Intake, reach: Reach) -> None:
        self._session = session
        self._intake = intake
        self._buffer = reach.read_buffer
        self._clock = reach.clock
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._resuming: asyncio.TimerHandle | None = None

    async def ended(self) -> None:
        """Return never.

        :raises StreamError: the reason why there is nothing more to come.
        """
        while not self._over.done():
            await asyncio.wait({self._over}, timeout=max(0.0, self._intake.left_s))
            if self._intake.left_s <= 0 and not self._over.done():
                raise self._intake.late(has_sound=self._session.has_sound)
        self._over.result()

    def leave(self) -> None:
        """Let go of the connection; nothing reaches the sink any more."""
        self._over.cancel()
        if self._over.done() and not self._over.cancelled():
            self._over.exception()
        if self._resuming is not None:
            self._resuming.cancel()
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._answer()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._over.done() or self._transport is None:
            return
        try:
            items = self._session.receive(bytes(self._buffer[:nbytes]), self._clock.utc())
            self._intake.take(items, nbytes)
            self._answer()
        except StreamError as err:
            self._finish(err)
            return
        # A buffer that is full has not taken all there is.
        if self._intake.has_begun and nbytes < len(self._buffer):
            self._transport.pause_reading()
            self._resuming = self._loop.call_later(GATHER_S, self._transport.resume_reading)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None or isinstance(exc, OSError):
            self._finish(StreamError(StreamReason.CLOSED_BY_PEER, "the server ended the connection"))
        else:
            self._finish(exc)

    def _answer(self) -> None:
        assert self._transport is not None
        if self._session.to_send:
            self._transport.write(bytes(self._session.to_send))
            self._session.to_send.clear()
            if self._transport.get_write_buffer_size() > _MOST_UNSENT:
                raise StreamError(StreamReason.BAD_DATA, "the server asks without reading the answers")

    def _finish(self, err: Exception) -> None:
        if not self._over.done():
            self._over.set_exception(err)
