"""Alerts in a Prometheus Alertmanager (API v2)."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import aiohttp

from monitor.alerts.alert import Alert
from monitor.alerts.config import AlertmanagerReceiverConfig
from monitor.alerts.receivers.post import post
from monitor.alerts.severity import below
from monitor.clock import iso_utc
from monitor.incidents.incident import Transition

REFRESH_S = 60.0
FIRING_FOR = timedelta(minutes=4)
"""An alert that is not refreshed ends by itself: a monitor that died does not page for ever."""


CLOCKS_DIFFER = timedelta(minutes=1)
"""How far this machine's clock may be ahead of Alertmanager's: an end that lies in its future does not resolve there,
and the earlier, later end keeps the alert firing."""


class AlertmanagerReceiver:
    """Keeps each violation firing while it is in force, and ends it when it is resolved."""

    refresh_s: float | None = REFRESH_S

    def __init__(self, config: AlertmanagerReceiverConfig, session: aiohttp.ClientSession) -> None:
        self.name = config.name
        self._config = config
        self._session = session

    async def send(self, alert: Alert, webhook_id: str, attempt_at: datetime) -> None:
        body = json.dumps(alert_bodies(alert, self._config.labels, attempt_at), ensure_ascii=False).encode()
        await post(
            self._session,
            f"{self._config.url.rstrip('/')}/api/v2/alerts",
            body,
            {"Content-Type": "application/json"},
            timeout_s=self._config.timeout_s,
            attempt_at=attempt_at,
        )


def alert_bodies(alert: Alert, labels: dict[str, str], now: datetime) -> list[dict[str, Any]]:
    """What ``POST /api/v2/alerts`` is sent: the alert, and the end of the less severe one that it may have been.

    The labels are what Alertmanager knows an alert by. They are the same over an incident's life but for the severity,
    so one that became more severe is another alert there. What else changes, the violation included, stands in the
    annotations.

    :param labels: the operator's own; a severity among them is kept, whatever the alert's.
    """
    resolved = alert.transition is Transition.RESOLVED
    bodies = [_body(alert, {"severity": alert.severity} | labels, now, ended=resolved)]
    if alert.transition is not Transition.OPENED and "severity" not in labels:
        bodies += [_body(alert, labels | {"severity": less}, now, ended=True) for less in below(alert.severity)]
    return bodies


def _body(alert: Alert, labels: dict[str, str], now: datetime, *, ended: bool) -> dict[str, Any]:
    starts_at = min(alert.violation_since, now)
    ends_at = max(starts_at, now - CLOCKS_DIFFER) if ended else now + FIRING_FOR
    return {
        "labels": labels
        | {
            "alertname": "LikenessViolation",
            "identity": alert.identity_id,
            "platform": alert.platform,
            "account": alert.account,
            "room": alert.room,
        },
        "annotations": _annotations(alert),
        "startsAt": iso_utc(starts_at),
        "endsAt": iso_utc(ends_at),
        "generatorURL": alert.links.incident,
    }


def _annotations(alert: Alert) -> dict[str, str]:
    words = {
        "summary": alert.summary,
        "violation": str(alert.decision),
        "permission": alert.decision_detail,
        "presence": str(alert.presence),
        "identity_name": alert.identity_name,
        "consent": alert.consent,
        "similarity": f"{alert.similarity:.3f} (threshold {alert.similarity_threshold:.3f}, margin {alert.margin:.3f})",
        "evidence": alert.evidence,
        "samples": f"{alert.samples_matched} of {alert.samples_seen}, {alert.seconds_on_screen:.1f} s on screen",
        "face_height_px": f"{alert.face_height_px:.0f}",
        "title": alert.title,
        "products": ", ".join(alert.products),
        "other_rooms": ", ".join(alert.other_rooms),
        "first_seen": f"{iso_utc(alert.first_seen_at)} (stream time {alert.stream_time_first:.1f} s)",
        "incident": alert.links.incident,
        "frame": alert.links.frame,
        "crop": alert.links.crop,
        "reference": alert.links.reference,
        "runbook_url": alert.links.runbook or "",
    }
    return {name: text for name, text in words.items() if text}
