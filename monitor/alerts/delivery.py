"""How one alert fared with one receiver, for the incident's page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One row of the outbox, as people read it."""

    id: str
    """The webhook id."""
    receiver: str
    transition: str
    """A Transition, or a word of another version of the monitor."""
    sequence: int
    created_at: datetime
    attempts: int
    """Attempts that failed."""
    next_attempt_at: datetime
    delivered_at: datetime | None
    dead_at: datetime | None
    """UTC at which it was given up; ``last_error`` says why."""
    last_error: str | None
