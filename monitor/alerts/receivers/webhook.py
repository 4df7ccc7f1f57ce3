"""Alerts as Standard Webhooks 1.0 (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import datetime

import aiohttp

from monitor.alerts.alert import Alert
from monitor.alerts.config import WebhookReceiverConfig
from monitor.alerts.receivers.post import post
from monitor.clock import iso_utc


class WebhookReceiver:
    """Posts ``{"type": "incident.opened", "timestamp": ..., "data": {...}}``, signed."""

    refresh_s: float | None = None

    def __init__(self, config: WebhookReceiverConfig, session: aiohttp.ClientSession) -> None:
        self.name = config.name
        self._config = config
        self._session = session

    async def send(self, alert: Alert, webhook_id: str, attempt_at: datetime) -> None:
        document = {
            "type": f"incident.{alert.transition}",
            "timestamp": iso_utc(alert.at),
            "data": alert.to_dict(),
        }
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        timestamp = int(attempt_at.timestamp())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": webhook_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(self._config.key, webhook_id, timestamp, body),
        }
        await post(
            self._session,
            self._config.url,
            body,
            headers,
            timeout_s=self._config.timeout_s,
            attempt_at=attempt_at,
        )


def sign(key: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    """The signature header: ``v1,`` and the base64 of HMAC-SHA256 over ``id.timestamp.body``."""
    digest = hmac.new(key, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
