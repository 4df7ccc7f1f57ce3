"""UTC for records, a monotonic clock for durations; both can be replaced in tests."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the daemon asks for the time."""

    def utc(self) -> datetime:
        """The current time, timezone-aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean anything."""


class SystemClock:
    """The machine's own clocks."""

    def utc(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass(slots=True)
class ManualClock:
    """A clock that moves only when told to."""

    now: datetime
    elapsed_s: float = 0.0

    def utc(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return self.elapsed_s


def iso_utc(moment: datetime) -> str:
    """ISO 8601 with milliseconds and a Z: ``2026-01-02T03:04:05.678Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
