"""A receiver of Standard Webhooks that checks every signature and keeps what it got."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from standardwebhooks.webhooks import Webhook

SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    webhook_id: str
    body: dict[str, Any]
    at: float
    """Unix seconds at which it was complete."""

    @property
    def type(self) -> str:
        return str(self.body["type"])

    @property
    def data(self) -> dict[str, Any]:
        return dict(self.body["data"])


@dataclass(slots=True)
class WebhookReceiver:
    """``url`` to post to; ``receipts`` in the order of arrival."""

    url: str = ""
    receipts: list[Receipt] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    """Requests whose signature did not verify."""

    def of(self, room: str, kind: str | None = None) -> list[Receipt]:
        found = [receipt for receipt in self.receipts if receipt.data["room"] == room]
        return [receipt for receipt in found if kind is None or receipt.type == f"incident.{kind}"]

    async def _post(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            Webhook(SECRET).verify(body, {key.lower(): value for key, value in request.headers.items()})
        except Exception as error:  # noqa: BLE001 - whatever it raises, the signature was not right
            self.bad.append(repr(error))
            return web.Response(status=400)
        receipt = Receipt(webhook_id=request.headers["webhook-id"], body=json.loads(body), at=time.time())
        self.receipts.append(receipt)
        return web.Response(status=204)


@asynccontextmanager
async def webhook_receiver() -> AsyncIterator[WebhookReceiver]:
    """A receiver on a free port of 127.0.0.1."""
    receiver = WebhookReceiver()
    app = web.Application()
    app.router.add_post("/hook", receiver._post)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()
