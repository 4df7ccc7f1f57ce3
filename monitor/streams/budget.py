"""What one stream may ask of the network: requests and bytes a minute, whatever its playlists say."""

from __future__ import annotations

from monitor.clock import Clock
from monitor.errors import StreamError, StreamReason

_MINUTE_S = 60.0


class Allowance:
    """A quantity a minute; what was not used is saved up, to one minute's worth."""

    def __init__(self, per_minute: float) -> None:
        self._per_minute = per_minute
        self._left = per_minute
        self._at: float | None = None

    def take(self, amount: float, now: float) -> bool:
        """Whether one was left at ``now`` (monotonic seconds); if so, ``amount`` is taken, also into debt."""
        if self._at is not None:
            earned = (now - self._at) * self._per_minute / _MINUTE_S
            self._left = min(self._per_minute, self._left + earned)
        self._at = now
        if self._left < 1:
            return False
        self._left -= amount
        return True


class Budget:
    """The allowances of one stream; they outlast its connections."""

    def __init__(self, *, opens: int, received_bytes: int, clock: Clock) -> None:
        self._opens_a_minute = opens
        self._bytes_a_minute = received_bytes
        self._opens = Allowance(opens)
        self._bytes = Allowance(received_bytes)
        self._clock = clock

    def open(self) -> None:
        """A request is about to be sent.

        :raises StreamError: OVER_BUDGET; it must not be sent.
        """
        if not self._opens.take(1, self._clock.monotonic()):
            raise StreamError(StreamReason.OVER_BUDGET, f"more than {self._opens_a_minute} requests a minute")

    def receive(self, count: int) -> None:
        """``count`` bytes came.

        :raises StreamError: OVER_BUDGET; no more must be read.
        """
        if not self._bytes.take(count, self._clock.monotonic()):
            raise StreamError(StreamReason.OVER_BUDGET, f"more than {self._bytes_a_minute} bytes a minute")
