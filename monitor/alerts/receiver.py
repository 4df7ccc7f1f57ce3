"""What the dispatcher needs of a receiver."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from monitor.alerts.alert import Alert


class Receiver(Protocol):
    """Somewhere alerts are sent."""

    @property
    def name(self) -> str:
        """Unique among the receivers; outbox rows carry it."""

    @property
    def refresh_s(self) -> float | None:
        """Seconds after which an alert that is in force is to be sent again; None: once is enough."""

    async def send(self, alert: Alert, webhook_id: str, attempt_at: datetime) -> None:
        """Deliver once, within the receiver's own deadline.

        :param webhook_id: the same over all attempts of one alert.
        :param attempt_at: UTC now.
        :raises DeliveryError: it was not accepted.
        """
