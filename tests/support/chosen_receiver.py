"""A receiver that does what a test wants."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime

from monitor.alerts.alert import Alert
from monitor.errors import DeliveryError
from monitor.incidents.incident import Incident


class Chosen:
    """A receiver that hangs on, or refuses, what the test chooses, and remembers what it was sent."""

    name = "chosen"

    def __init__(self, refresh_s: float | None = None) -> None:
        self.refresh_s = refresh_s
        self.hangs: dict[str, asyncio.Event] = {}
        """Incident to what its next attempt waits for."""
        self.failing = 0.0
        self.tried: list[tuple[str, int]] = []
        self.taken: list[tuple[str, int]] = []
        self._chance = random.Random(3)

    async def send(self, alert: Alert, webhook_id: str, attempt_at: datetime) -> None:
        self.tried.append((alert.incident_id, alert.sequence))
        if hang := self.hangs.pop(alert.incident_id, None):
            await hang.wait()
        await asyncio.sleep(0)
        if self._chance.random() < self.failing:
            raise DeliveryError("not now")
        self.taken.append((alert.incident_id, alert.sequence))

    def of(self, incident: Incident) -> list[int]:
        """What was taken of one incident."""
        return [sequence for name, sequence in self.taken if name == incident.id]
