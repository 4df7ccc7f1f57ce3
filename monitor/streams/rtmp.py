"""RTMP and RTMPS rooms, read on the event loop from the address that the guard checked."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from urllib.parse import urlsplit

from monitor.errors import StreamError, StreamReason
from monitor.streams.budget import Allowance
from monitor.streams.guard import DEFAULT_PORTS, Address
from monitor.streams.intake import Intake
from monitor.streams.packet import PacketSink
from monitor.streams.reach import Reach
from monitor.streams.rtmp_session import RtmpSession, rtmp_target

_MOST_UNSENT = 1 << 16
_PIECE = 1 << 16
# Of one visit, for as long as the loop may be held up. A record of TLS may be tiny: reads have a bound of their own.
_MOST_BYTES, _MOST_READS = 1 << 18, 1024
_SOON_S = 0.02
# A real room has some hundreds a second; what a server has kept for newcomers comes all at once.
_MESSAGES_A_MINUTE = 60_000


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
        intake = Intake(sink, self._reach.clock, config)
        try:
            async with asyncio.timeout(max(0.0, intake.left_s)):
                connected = await self._dial(addresses, intake)
        except TimeoutError as err:
            raise StreamError(StreamReason.OPEN_TIMEOUT) from err
        reading = _Reading(connected, session, intake, self._reach)
        try:
            await reading.ended()
        finally:
            reading.leave()

    async def _dial(self, addresses: Sequence[Address], intake: Intake) -> socket.socket:
        """Connect to the first of ``addresses`` that answers; they share what is left of the open timeout.

        TLS is told the name, so nothing is resolved again.

        :raises StreamError: REFUSED, also where the certificate is not the name's; OPEN_TIMEOUT.
        """
        parts = urlsplit(self._url)
        port = parts.port or DEFAULT_PORTS[parts.scheme]
        problem: OSError | None = None
        for number, address in enumerate(addresses):
            try:
                async with asyncio.timeout(max(0.0, intake.left_s) / (len(addresses) - number)):
                    connected = await _connected(address, port)
            except OSError as err:
                problem = err
                continue
            return await _secured(connected, parts.hostname or "") if parts.scheme == "rtmps" else connected
        if isinstance(problem, TimeoutError) and problem.errno is None:
            raise StreamError(StreamReason.OPEN_TIMEOUT) from problem
        said = os.strerror(problem.errno) if problem is not None and problem.errno else "cannot connect"
        raise StreamError(StreamReason.REFUSED, said) from problem


async def _connected(address: Address, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, (str(address), port))
        # What is sent are single small answers.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:  # cancelled too; raised on
        made.close()
        raise
    return made


@cache
def trusting_context() -> ssl.SSLContext:
    """Verifies servers by the system's authorities. Reads them from disk at first: not on the loop."""
    return ssl.create_default_context()


async def _secured(plain: socket.socket, name: str) -> ssl.SSLSocket:
    """TLS over a connection, once the server has proved to be ``name``.

    :raises StreamError: REFUSED.
    """
    made = plain
    try:
        context = await asyncio.to_thread(trusting_context)
        # Where the peer has left, or the name is none, wrapping would leave a socket behind that nobody can close.
        plain.getpeername()
        name.encode("idna")
        made = context.wrap_socket(plain, server_hostname=name, do_handshake_on_connect=False)
        await _shaken(made)
    except (OSError, ValueError) as err:
        made.close()
        raise StreamError(StreamReason.REFUSED, f"TLS failed: {type(err).__name__}") from err
    except BaseException:  # cancelled too; raised on
        made.close()
        raise
    return made


async def _shaken(secured: ssl.SSLSocket) -> None:
    """Return once the handshake is done."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            secured.do_handshake()
        except ssl.SSLWantReadError:
            await _ready(secured, loop.add_reader, loop.remove_reader)
        except ssl.SSLWantWriteError:
            await _ready(secured, loop.add_writer, loop.remove_writer)
        else:
            return


async def _ready(waited: socket.socket, add: Callable[..., None], remove: Callable[[socket.socket], object]) -> None:
    """Return once ``waited`` can be read from, or written to."""
    ready = asyncio.Event()
    add(waited, ready.set)
    try:
        await ready.wait()
    finally:
        remove(waited)


class _Reading:
    """One connection. Until the video's format is known it is read as data comes, then in rounds."""

    def __init__(self, connected: socket.socket, session: RtmpSession, intake: Intake, reach: Reach) -> None:
        self._socket = connected
        self._is_secure = isinstance(connected, ssl.SSLSocket)
        self._session = session
        self._intake = intake
        self._rounds = reach.rounds
        self._clock = reach.clock
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._leave_rounds: Callable[[], None] | None = None
        self._again: asyncio.TimerHandle | None = None
        self._messages = Allowance(_MESSAGES_A_MINUTE)

    async def ended(self) -> None:
        """Return never.

        :raises StreamError: the reason why there is nothing more to come.
        """
        self._loop.add_reader(self._socket, self._visit)
        self._visit()
        while not self._over.done():
            await asyncio.wait({self._over}, timeout=max(0.0, self._intake.left_s))
            if self._intake.left_s <= 0 and not self._over.done():
                raise self._intake.late(has_sound=self._session.has_sound)
        self._over.result()

    def leave(self) -> None:
        """Let go of the connection; nothing reaches the sink any more."""
        if not self._over.cancel() and not self._over.cancelled():
            # Nobody asks for it any more, where the run was cancelled.
            self._over.exception()
        if self._leave_rounds is not None:
            self._leave_rounds()
        if self._again is not None:
            self._again.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _visit(self) -> None:
        """Take in what has come."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        try:
            is_behind = self._receive()
        except StreamError as err:
            self._finish(err)
        except OSError as err:
            self._finish(StreamError(StreamReason.CLOSED_BY_PEER, type(err).__name__))
        # Top of a callback: a defect that some data meets is raised where the source runs, and logged there.
        except Exception as err:  # noqa: BLE001
            self._finish(err)
        else:
            if self._intake.has_begun and self._leave_rounds is None:
                self._loop.remove_reader(self._socket)
                self._leave_rounds = self._rounds.join(self._visit)
            if is_behind:
                self._again = self._loop.call_later(_SOON_S, self._visit)

    def _receive(self) -> bool:
        """Take in what has come, no more than the loop can bear; whether there may be more."""
        if self._over.done():
            return False
        self._answer()
        data, is_behind, ending = self._read()
        if data:
            before = self._session.messages
            self._intake.take(self._session.receive(data, self._clock.utc()), len(data))
            if not self._messages.take(self._session.messages - before, self._clock.monotonic()):
                raise StreamError(StreamReason.BAD_DATA, "more messages than any room sends")
        ending = self._session.ending or ending
        if ending is not None:
            raise ending
        self._answer()
        return is_behind

    def _read(self) -> tuple[bytes, bool, StreamError | None]:
        """What is here, whether there may be more, and why no more will come, if so."""
        pieces: list[bytes] = []
        size = 0
        while size < _MOST_BYTES and len(pieces) < _MOST_READS:
            try:
                data = self._socket.recv(_PIECE)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return b"".join(pieces), False, None
            except OSError as err:
                return b"".join(pieces), False, StreamError(StreamReason.CLOSED_BY_PEER, type(err).__name__)
            if not data:
                ending = StreamError(StreamReason.CLOSED_BY_PEER, "the server ended the connection")
                return b"".join(pieces), False, ending
            pieces.append(data)
            size += len(data)
            # A record of TLS ends before what has come does.
            if len(data) < _PIECE and not self._is_secure:
                return b"".join(pieces), False, None
        return b"".join(pieces), True, None

    def _answer(self) -> None:
        waiting = self._session.to_send
        if not waiting:
            return
        with suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            del waiting[: self._socket.send(waiting)]
        if len(waiting) > _MOST_UNSENT:
            raise StreamError(StreamReason.BAD_DATA, "the server asks and does not read the answers")

    def _finish(self, err: Exception) -> None:
        self._loop.remove_reader(self._socket)
        if not self._over.done():
            self._over.set_exception(err)
