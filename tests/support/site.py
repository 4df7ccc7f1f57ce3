"""What web pages read, kept in plain lists, and a browser that asks real servers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from prometheus_client import CollectorRegistry
from ulid import ULID
from yarl import URL

from monitor.alerts.delivery import Delivery
from monitor.incidents.incident import Decision, Incident, IncidentKey, IncidentState, TimelineEntry, Transition
from monitor.streams.stream import StreamStatus
from monitor.web.app import build_app
from monitor.web.server import WebServer
from monitor.web.site import Site

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SECRET_URL = "rtmp://live.example.org/app/very-secret-key"


@dataclass
class Shelf:
    """Incidents in a list, as the database would give them."""

    incidents: list[Incident] = field(default_factory=list)
    entries: dict[str, list[TimelineEntry]] = field(default_factory=dict)
    rows: dict[str, list[Delivery]] = field(default_factory=dict)
    failure: Exception | None = None

    async def page(
        self,
        *,
        limit: int,
        before: str | None = None,
        state: IncidentState | None = None,
        decisions: Collection[Decision] | None = None,
        identity_id: str | None = None,
        platform: str | None = None,
        account: str | None = None,
        room: str | None = None,
    ) -> Sequence[Incident]:
        if self.failure:
            raise self.failure

        def wanted(incident: Incident) -> bool:
            key = incident.key
            return (
                (before is None or incident.id < before)
                and state in (None, incident.state)
                and (decisions is None or incident.decision in decisions)
                and identity_id in (None, key.identity_id)
                and platform in (None, key.platform)
                and account in (None, key.account)
                and room in (None, key.room)
            )

        found = sorted(filter(wanted, self.incidents), key=lambda incident: incident.id, reverse=True)
        return found[:limit]

    async def get(self, incident_id: str) -> Incident | None:
        return next((incident for incident in self.incidents if incident.id == incident_id), None)

    async def timeline(self, incident_id: str) -> Sequence[TimelineEntry]:
        return self.entries.get(incident_id, [])

    async def deliveries(self, incident_id: str) -> Sequence[Delivery]:
        return self.rows.get(incident_id, [])


@dataclass
class Board:
    """Stream states in a dict, as the supervisor would give them."""

    known: dict[str, StreamStatus] = field(default_factory=dict)

    def statuses(self) -> Mapping[str, StreamStatus]:
        return self.known


def make_incident(number: int = 1, **changes: Any) -> Incident:
    opened = NOW - timedelta(minutes=number)
    incident = Incident(
        id=str(ULID.from_datetime(opened)),
        key=IncidentKey(identity_id="obama", platform="douyin", account="shop-88", room=f"room-{number}"),
        identity_name="Barack Obama",
        consent="contract, 2026-01-01, file 12",
        stream_id="douyin-8841",
        state=IncidentState.OPEN,
        decision=Decision.NO_PERMISSION,
        decision_detail="obama has permissions for demo/obama-official, none for douyin/shop-88",
        title="Spring sale",
        products=("kettle", "lamp"),
        similarity=0.713,
        margin=0.52,
        similarity_threshold=0.363,
        samples_matched=5,
        samples_seen=6,
        face_height_px=141.0,
        seconds_on_screen=8.4,
        first_seen_at=opened - timedelta(seconds=2),
        opened_at=opened,
        violation_since=opened,
        last_seen_at=NOW - timedelta(seconds=3),
        stream_time_first=12.5,
    )
    return replace(incident, **changes)


def make_delivery(**changes: Any) -> Delivery:
    delivery = Delivery(
        id="msg_1",
        receiver="on-call",
        transition=Transition.OPENED,
        sequence=1,
        created_at=NOW,
        attempts=0,
        next_attempt_at=NOW,
        delivered_at=None,
        dead_at=None,
        last_error=None,
    )
    return replace(delivery, **changes)


class Browser:
    """Starts real servers for sites and asks them."""

    def __init__(self, stack: AsyncExitStack, session: aiohttp.ClientSession) -> None:
        self._stack = stack
        self.session = session

    async def open(self, site: Site) -> WebServer:
        server = WebServer(site.config)
        self._stack.push_async_callback(server.aclose)
        server.bind()
        await server.serve(build_app(site))
        return server

    async def get(
        self, site: Site, path: str, headers: Mapping[str, str] | None = None
    ) -> tuple[aiohttp.ClientResponse, str]:
        """The answer and its body; ``path`` is sent as it is written, dots and escapes included."""
        server = await self.open(replace(site, registry=CollectorRegistry()))
        url = URL(f"http://127.0.0.1:{server.port}{path}", encoded=True)
        async with self.session.get(url, headers=headers) as response:
            return response, await response.text()
