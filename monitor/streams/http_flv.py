"""HTTP-FLV, read on the event loop; and whatever else an HTTP address may hold, which is left to libav."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import aiohttp

from monitor.errors import StreamError, StreamReason
from monitor.streams.flv import SIGNATURE, FlvReader
from monitor.streams.flv_video import TIME_BASE, Item
from monitor.streams.http import MeteredBody, translated
from monitor.streams.http_input import HttpInput
from monitor.streams.intake import Intake
from monitor.streams.libav import FIRST_PROBE_S, LibavReading
from monitor.streams.packet import Packet, PacketSink
from monitor.streams.reach import Reach
from monitor.streams.rounds import ROUND_S

# Read at once; the reader takes no more tags of it than the loop can bear.
_PIECE = 1 << 16
# Time stamps that are further off than this jumped: the pace starts anew.
_RESYNC_S = 10.0


class HttpSource:
    """A room as HTTP-FLV, or a recording in any container over HTTP."""

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
            await self._read(response, sink)
            self._finished = version

    async def _read(self, response: aiohttp.ClientResponse, sink: PacketSink) -> None:
        config = self._reach.config
        intake = Intake(sink, self._reach.clock, config)
        body = _Body(response, self._reach.http.metered(response.content))
        head = b""
        while len(head) < len(SIGNATURE) and (piece := await body.read(intake, has_sound=False)):
            head += piece
        if head.startswith(SIGNATURE):
            await _FlvReading(body, intake, sink, self._reach, paced=self._paced).run(head)
            return
        source = HttpInput(head, body.content, asyncio.get_running_loop(), config, paced=self._paced)
        reading = LibavReading(
            source, self._reach.clock, FIRST_PROBE_S, config.open_timeout_s, keyframes_only=not config.ring_s
        )
        await reading.run(sink)


class _Body:
    """An answer's body, piece by piece."""

    def __init__(self, response: aiohttp.ClientResponse, content: MeteredBody) -> None:
        self._response = response
        self.content = content

    async def read(self, intake: Intake, *, has_sound: bool) -> bytes:
        """The next piece; none at the end.

        :raises StreamError: behind the intake's deadline, or when the connection broke.
        """
        try:
            async with asyncio.timeout(max(0.0, intake.left_s)):
                return await self.content.read(_PIECE)
        except TimeoutError as err:
            raise intake.late(has_sound=has_sound) from err
        except (aiohttp.ClientError, OSError) as err:
            raise translated(err) from err

    async def gather(self, seconds: float) -> None:
        """Leave what comes within ``seconds`` to the kernel, where it costs nothing."""
        connection = self._response.connection
        protocol = connection.protocol if connection else None
        if protocol is not None:
            protocol.pause_reading()
        try:
            await asyncio.sleep(seconds)
        finally:
            if protocol is not None:
                protocol.resume_reading()


class _FlvReading:
    """One run over a body that is FLV."""

    def __init__(self, body: _Body, intake: Intake, sink: PacketSink, reach: Reach, *, paced: bool) -> None:
        self._body = body
        self._intake = intake
        self._sink = sink
        self._clock = reach.clock
        self._paced = paced
        self._reader = FlvReader(keyframes_only=not reach.config.ring_s)
        self._origin: float | None = None

    async def run(self, piece: bytes) -> None:
        """Read from ``piece``, the first one, to the end.

        :raises StreamError: the reason; CLOSED_BY_PEER when a live room is over.
        """
        while piece:
            items = self._reader.feed(piece, self._clock.utc())
            if self._reader.duration_s:
                await self._play(items, len(piece))
            else:
                self._intake.take(items, len(piece))
                if self._intake.has_begun and len(piece) < _PIECE:
                    await self._body.gather(ROUND_S)
                else:
                    # What is here already is read without waiting: others have their turn all the same.
                    await asyncio.sleep(0)
            piece = await self._body.read(self._intake, has_sound=self._reader.has_sound)
        if not self._intake.has_begun:
            reason = StreamReason.NO_VIDEO if self._reader.has_sound else StreamReason.BAD_DATA
            raise StreamError(reason, "it ended before any video")
        if not self._reader.duration_s:
            raise StreamError(StreamReason.CLOSED_BY_PEER, "the server ended the connection")

    async def _play(self, items: Sequence[Item], received_bytes: int) -> None:
        """Pass a recording's video on when it is due, or when there is room for it."""
        self._intake.take([], received_bytes)
        for item in items:
            if isinstance(item, Packet):
                await self._hold(item)
            self._intake.take([item], 0)

    async def _hold(self, packet: Packet) -> None:
        if not self._paced:
            if packet.is_keyframe:
                await self._sink.drained()
            return
        now, position = time.monotonic(), float(packet.dts * TIME_BASE)
        if self._origin is None or abs(self._origin + position - now) > _RESYNC_S:
            self._origin = now - position
        await asyncio.sleep(max(0.0, self._origin + position - now))
