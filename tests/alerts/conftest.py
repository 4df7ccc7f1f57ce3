"""A database with an outbox, a real webhook receiver whose answers the test chooses, and a dispatcher's life."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from standardwebhooks.webhooks import Webhook
from support.violations import make_incident

from monitor.alerts.config import AlertmanagerReceiverConfig, AlertsConfig, WebhookReceiverConfig
from monitor.alerts.dispatcher import Dispatcher
from monitor.alerts.metrics import AlertsMetrics
from monitor.alerts.receiver import Receiver
from monitor.alerts.receivers.build import build_receivers
from monitor.clock import ManualClock, SystemClock
from monitor.incidents.incident import Incident, IncidentState, TimelineEntry, Transition
from monitor.storage.database import Database
from monitor.storage.incidents import SqlIncidentStore
from monitor.storage.outbox import SqlOutbox
from monitor.storage.reader import SqlIncidentReader

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One verified request."""

    id: str
    timestamp: int
    body: dict[str, Any]

    @property
    def type(self) -> str:
        return str(self.body["type"])


@dataclass(slots=True)
class Hook:
    """A webhook receiver. ``answers`` are given in turn, then 204."""

    url: str = ""
    receipts: list[Receipt] = field(default_factory=list)
    answers: list[web.Response | asyncio.Event] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        document = Webhook(SECRET).verify(body, dict(request.headers))
        assert document == json.loads(body)
        self.receipts.append(
            Receipt(
                id=request.headers["webhook-id"], timestamp=int(request.headers["webhook-timestamp"]), body=document
            )
        )
        answer = self.answers.pop(0) if self.answers else web.Response(status=204)
        if isinstance(answer, asyncio.Event):
            await answer.wait()
            return web.Response(status=204)
        return answer

    @property
    def types(self) -> list[str]:
        return [receipt.type for receipt in self.receipts]


@asynccontextmanager
async def serve(handle: Callable[[web.Request], Any]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/{tail:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    hook = Hook()
    async with serve(hook.handle) as base:
        hook.url = f"{base}/secret-path"
        yield hook


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@dataclass(slots=True)
class Post:
    """The outbox and the ways to fill and read it."""

    database: Database
    clock: ManualClock
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    session: aiohttp.ClientSession | None = None
    dispatcher: Dispatcher | None = None

    @property
    def outbox(self) -> SqlOutbox:
        return SqlOutbox(self.database)

    @property
    def reader(self) -> SqlIncidentReader:
        return SqlIncidentReader(self.database)

    def webhook(self, url: str, name: str = "hook", **changes: Any) -> WebhookReceiverConfig:
        return WebhookReceiverConfig(type="webhook", name=name, url=url, secret=SECRET, **changes)  # type: ignore[arg-type]

    def alertmanager(self, url: str) -> AlertmanagerReceiverConfig:
        return AlertmanagerReceiverConfig(type="alertmanager", name="am", url=url)

    def built(self, *configs: Any) -> tuple[Receiver, ...]:
        assert self.session is not None
        return build_receivers(AlertsConfig(receivers=configs), self.session)

    async def tell(
        self, incident: Incident, transition: Transition = Transition.OPENED, receivers: Sequence[str] = ("hook",)
    ) -> None:
        """What the incident book writes for a transition now."""
        wake = self.dispatcher.nudge if self.dispatcher else None
        store = SqlIncidentStore(self.database, receivers=receivers, web_base_url="http://127.0.0.1:8080", wake=wake)
        line = TimelineEntry(
            incident_id=incident.id, at=self.clock.now, event=transition, reason=incident.decision, detail="in words"
        )
        await store.save(incident, timeline=[line], transition=transition)

    async def resolve(self, incident: Incident, receivers: Sequence[str] = ("hook",)) -> None:
        closed = replace(incident, state=IncidentState.CLOSED, closed_at=self.clock.now, sequence=incident.sequence + 1)
        await self.tell(closed, Transition.RESOLVED, receivers)

    def wait(self, seconds: float) -> None:
        """Move the clock and let the dispatcher look."""
        self.clock.now += timedelta(seconds=seconds)
        self.clock.elapsed_s += seconds
        if self.dispatcher:
            self.dispatcher.nudge()

    def dispatching(self, *receivers: Receiver) -> AbstractAsyncContextManager[Dispatcher]:
        """A dispatcher that runs for the length of the block, as one process's life."""
        return self._dispatching(receivers)

    @asynccontextmanager
    async def _dispatching(self, receivers: Sequence[Receiver]) -> AsyncIterator[Dispatcher]:
        self.registry = CollectorRegistry()
        self.dispatcher = Dispatcher(self.outbox, receivers, self.clock, AlertsMetrics(self.registry))
        running = asyncio.create_task(self.dispatcher.run())
        try:
            yield self.dispatcher
        finally:
            self.dispatcher = None
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
async def post(tmp_path: Path, session: aiohttp.ClientSession) -> AsyncIterator[Post]:
    database = Database(f"sqlite:///{tmp_path}/monitor.db")
    await database.open()
    # Verifying a signature and ending an alert compare with the real time, so the clock begins there.
    yield Post(database=database, clock=ManualClock(now=SystemClock().utc()), session=session)
    await database.aclose()


@pytest.fixture
def incident() -> Incident:
    now = SystemClock().utc()
    return make_incident(first_seen_at=now, opened_at=now, last_seen_at=now, violation_since=now)
