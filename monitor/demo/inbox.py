"""A webhook receiver on loopback that keeps what the daemon delivers, and when."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from monitor.alerts.config import WebhookReceiverConfig
from monitor.alerts.receivers.webhook import sign
from monitor.demo.loopback import LoopbackServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One alert as it arrived."""

    transition: str
    """``opened``, ``updated`` or ``resolved``."""
    room: str
    summary: str
    similarity: float
    at: float
    """Monotonic seconds at which it was here whole."""


class Inbox:
    """Takes signed webhooks; one with a wrong signature is answered 400 and not kept. Use with ``async with``."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self._secret = secrets.token_bytes(32)
        self._arrived = asyncio.Event()
        self._server = LoopbackServer()
        self._server.add_post("/alerts", self._take)

    async def __aenter__(self) -> Self:
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.aclose()

    @property
    def config(self) -> WebhookReceiverConfig:
        """The entry for ``alerts.receivers`` that leads here."""
        secret = "whsec_" + base64.b64encode(self._secret).decode()
        return WebhookReceiverConfig.model_validate(
            {"type": "webhook", "name": "inbox", "url": f"{self._server.base_url}/alerts", "secret": secret}
        )

    def opened(self, room: str) -> Delivery | None:
        """The first alert that a violation in ``room`` began."""
        return next((one for one in self.deliveries if one.room == room and one.transition == "opened"), None)

    async def changed(self, timeout_s: float) -> None:
        """Return at the next delivery, or after ``timeout_s``."""
        self._arrived.clear()
        try:
            await asyncio.wait_for(self._arrived.wait(), timeout_s)
        except TimeoutError:
            return

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = request.headers
        try:
            timestamp = int(headers["webhook-timestamp"])
            good = sign(self._secret, headers["webhook-id"], timestamp, body) == headers["webhook-signature"]
        except (KeyError, ValueError):
            good = False
        if not good:
            raise web.HTTPBadRequest
        self._keep(json.loads(body)["data"])
        return web.Response(status=204)

    def _keep(self, alert: dict[str, Any]) -> None:
        self.deliveries.append(
            Delivery(
                transition=alert["transition"],
                room=alert["room"],
                summary=alert["summary"],
                similarity=alert["similarity"],
                at=time.monotonic(),
            )
        )
        self._arrived.set()
