"""The outbox: what is still to be told to whom. It is the record; receivers may forget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from monitor.alerts.alert import Alert


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEntry:
    """One alert for one receiver."""

    id: str
    """``msg_`` and a ULID; the same over all attempts, so that a receiver can tell a repetition."""
    receiver: str
    alert: Alert
    created_at: datetime
    """UTC of the transition."""
    attempts: int
    """Attempts that failed so far."""


class Outbox(Protocol):
    """Rows that incidents' transactions wrote. Every method raises StorageError when the database fails."""

    async def due(self, receiver: str, now: datetime, limit: int) -> Sequence[OutboxEntry]:
        """The receiver's rows to send now, the oldest first: of each incident only the oldest one that is neither
        delivered nor dead, and only if its next attempt has come. A row that cannot be read becomes dead."""

    async def delivered(self, entry_id: str, at: datetime) -> None:
        """The receiver has it."""

    async def failed(self, entry_id: str, *, next_attempt_at: datetime, error: str) -> None:
        """One more attempt failed; the row is due again at ``next_attempt_at``."""

    async def dead(self, entry_id: str, at: datetime, error: str) -> None:
        """The receiver will never take it: the row is kept with the reason, and the next of its incident is due."""

    async def in_force(self, receiver: str) -> Sequence[OutboxEntry]:
        """For each violation that is open now, the last row, if the receiver has it already."""

    async def pending(self, receiver: str) -> int:
        """How many rows are neither delivered nor dead."""
