"""The receiver that is always there: the daemon's own log."""

from __future__ import annotations

import logging
from datetime import datetime

from monitor.alerts.alert import Alert
from monitor.alerts.config import LogReceiverConfig
from monitor.incidents.incident import Transition

log = logging.getLogger(__name__)


class LogReceiver:
    """Writes each alert as one line; a resolved one as information, the others as a warning."""

    refresh_s: float | None = None

    def __init__(self, config: LogReceiverConfig) -> None:
        self.name = config.name

    async def send(self, alert: Alert, webhook_id: str, attempt_at: datetime) -> None:
        level = logging.INFO if alert.transition is Transition.RESOLVED else logging.WARNING
        log.log(
            level,
            "alert transition=%s severity=%s presence=%s incident=%s webhook_id=%s similarity=%.3f threshold=%.3f "
            "margin=%.3f samples=%d/%d seconds=%.1f face_px=%.0f page=%s summary=%r",
            alert.transition,
            alert.severity,
            alert.presence,
            alert.incident_id,
            webhook_id,
            alert.similarity,
            alert.similarity_threshold,
            alert.margin,
            alert.samples_matched,
            alert.samples_seen,
            alert.seconds_on_screen,
            alert.face_height_px,
            alert.links.incident,
            alert.summary,
        )
