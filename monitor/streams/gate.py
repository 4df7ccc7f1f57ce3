"""How fast connections are opened: so many a second in all, so many at once to one host.

A thousand rooms that drop at the same instant come back through here, one after the other, instead of falling
over the server that has just come up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from monitor.errors import StreamReason
from monitor.streams.config import StreamsConfig

UNREACHABLE = frozenset(
    {
        StreamReason.CLOSED_BY_PEER,
        StreamReason.HTTP_ERROR,
        StreamReason.OPEN_TIMEOUT,
        StreamReason.READ_TIMEOUT,
        StreamReason.REFUSED,
        StreamReason.UNRESOLVED,
    }
)
"""Failures that are the host's more likely than the one room's."""

# A host that accepts and says nothing must not keep its other rooms waiting for a whole open timeout.
_OPENING_S = 2.0
_BURST_S = 0.1


class Pace:
    """Hands out moments that are ``1 / per_s`` seconds apart (the generic cell rate algorithm, ITU-T I.371)."""

    def __init__(self, per_s: float, burst_s: float = _BURST_S) -> None:
        self._step_s = 1.0 / per_s
        self._burst_s = burst_s
        self._next = float("-inf")

    def reserve(self, now: float) -> float:
        """Take the next moment; seconds from ``now`` (monotonic seconds) to it, 0 if it has come."""
        moment = max(self._next, now - self._burst_s)
        self._next = moment + self._step_s
        return max(0.0, moment - now)


class Slot:
    """A connection that is being opened, until :meth:`release`."""

    def __init__(self, give_back: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        self._give_back: Callable[[], None] | None = give_back
        self._timer = loop.call_later(_OPENING_S, self.release)

    def release(self) -> None:
        """The connection is open, or failed; harmless when repeated."""
        self._timer.cancel()
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            give_back()


class HostGate:
    """The way to one host, shared by all of its streams."""

    def __init__(self, pace: Pace, at_once: int, waiting: Callable[[int], None]) -> None:
        self._pace = pace
        self._room = asyncio.Semaphore(at_once)
        self._waiting = waiting
        self._resting: set[asyncio.Future[None]] = set()
        self._down = False

    async def enter(self) -> Slot:
        """Wait for the turn to open one connection."""
        loop = asyncio.get_running_loop()
        self._waiting(1)
        try:
            await self._room.acquire()
            try:
                await asyncio.sleep(self._pace.reserve(loop.time()))
            except BaseException:  # cancelled too: the place goes to the next; raised on
                self._room.release()
                raise
        finally:
            self._waiting(-1)
        return Slot(self._room.release, loop)

    def failed(self, reason: StreamReason) -> None:
        """A connection to the host ended in an error."""
        self._down = self._down or reason in UNREACHABLE

    def answered(self) -> None:
        """A connection brought video. If the host was down, those that rest because of that try again now."""
        if self._down:
            self._down = False
            for future in self._resting:
                if not future.done():
                    future.set_result(None)

    async def rest(self, seconds: float, *, wakeable: bool) -> bool:
        """Wait; True if the host came back before ``seconds`` had passed (only when ``wakeable``)."""
        waker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if wakeable:
            self._resting.add(waker)
        try:
            async with asyncio.timeout(seconds):
                await waker
        except TimeoutError:
            return False
        finally:
            self._resting.discard(waker)
        return True


class ConnectGate:
    """All hosts. An entry lives as long as a stream holds it."""

    def __init__(self, config: StreamsConfig, waiting: Callable[[int], None]) -> None:
        self._config = config
        self._waiting = waiting
        self._pace = Pace(config.connects_per_s)
        self._hosts: WeakValueDictionary[tuple[str, int | None], HostGate] = WeakValueDictionary()

    def host(self, url: str) -> HostGate:
        """The way to the host of ``url``. Recordings on disk share one."""
        parts = urlsplit(url)
        key = (parts.hostname or "", parts.port if parts.hostname else None)
        gate = self._hosts.get(key)
        if gate is None:
            gate = self._hosts[key] = HostGate(self._pace, self._config.connects_per_host_at_once, self._waiting)
        return gate
