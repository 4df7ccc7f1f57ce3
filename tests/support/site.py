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
from monitor.incidents.incident import (
    Decision,
    EvidenceRecord,
    Incident,
    IncidentKey,
    IncidentState,
    TimelineEntry,
    Transition,
)
from monitor.sightings.presence import Presence
from monitor.streams.hook_config import HookConfig
from monitor.streams.hooks import PublishEvent
from monitor.streams.roster import Roster, RosterEntry
from monitor.streams.stream import Stream, StreamState, StreamStatus
from monitor.web.app import build_app
from monitor.web.hooks import HookDoor
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

    def status(self, stream_id: str) -> StreamStatus | None:
        return self.known.get(stream_id)

    def states(self) -> Mapping[str, StreamState]:
        return {stream_id: status.state for stream_id, status in self.known.items()}


@dataclass
class Drawer:
    """A stream store that is a dict."""

    entries: dict[str, RosterEntry] = field(default_factory=dict)
    failure: Exception | None = None

    async def load(self) -> Sequence[RosterEntry]:
        return list(self.entries.values())

    async def save(self, put: Sequence[RosterEntry], drop: Collection[str] = ()) -> None:
        if self.failure:
            raise self.failure
        for stream_id in drop:
            self.entries.pop(stream_id, None)
        self.entries |= {entry.stream.id: entry for entry in put}


@dataclass
class Watching:
    """Streams that are watched, and how often each was begun."""

    streams: dict[str, Stream] = field(default_factory=dict)
    begun: list[str] = field(default_factory=list)

    def add(self, stream: Stream) -> None:
        self.streams[stream.id] = stream
        self.begun.append(stream.id)

    def remove(self, stream_id: str) -> None:
        self.streams.pop(stream_id, None)


async def any_address(url: str) -> None:
    """Refuses nothing."""


def make_roster(*provisioned: Stream, store: Drawer | None = None, watching: Watching | None = None) -> Roster:
    return Roster(provisioned, store or Drawer(), watching or Watching(), any_address)


def make_incident(number: int = 1, manifest_sha256: str | None = None, **changes: Any) -> Incident:
    """:param manifest_sha256: of its only evidence."""
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
    if manifest_sha256 is not None:
        record = EvidenceRecord(folder=incident.id, manifest_sha256=manifest_sha256, presence=incident.presence)
        incident = replace(incident, evidence=(record,))
    return replace(incident, **changes)


def make_escalated() -> Incident:
    """An incident that stood behind and now presents, with evidence of both."""
    incident = make_incident()
    behind = EvidenceRecord(folder=incident.id, manifest_sha256="ab" * 32, presence=Presence.BACKGROUND)
    now = EvidenceRecord(folder=f"{incident.id}-presenter", manifest_sha256="cd" * 32, presence=Presence.PRESENTER)
    return replace(incident, evidence=(behind, now), log_likelihood=14.2, log_likelihood_needed=9.7)


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


def door(site: Site, *hooks: HookConfig, events: list[PublishEvent] | None = None) -> HookDoor:
    """Takes every event at once, into ``events``."""

    def take(hook: HookConfig, event: PublishEvent) -> bool:
        if events is not None:
            events.append(event)
        return True

    return HookDoor(hooks, take, site.clock, site.registry)


class Browser:
    """Starts real servers for sites and asks them."""

    def __init__(self, stack: AsyncExitStack, session: aiohttp.ClientSession) -> None:
        self._stack = stack
        self.session = session

    async def open(self, site: Site) -> WebServer:
        server = WebServer(site.config)
        self._stack.push_async_callback(server.aclose)
        server.bind()
        await server.serve(build_app(site, door(site)))
        return server

    async def get(
        self, site: Site, path: str, headers: Mapping[str, str] | None = None
    ) -> tuple[aiohttp.ClientResponse, str]:
        """The answer and its body; ``path`` is sent as it is written, dots and escapes included."""
        server = await self.open(replace(site, registry=CollectorRegistry()))
        url = URL(f"http://127.0.0.1:{server.port}{path}", encoded=True)
        async with self.session.get(url, headers=headers) as response:
            return response, await response.text()
