"""A book on a real database file, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from support.violations import PACK, START, make_identity, make_sighting, make_stream

from monitor.clock import ManualClock
from monitor.gallery.identity import Identity
from monitor.incidents.book import IncidentBook, WriteEvidence
from monitor.incidents.config import IncidentsConfig
from monitor.incidents.incident import Incident
from monitor.incidents.metrics import IncidentsMetrics
from monitor.sightings.sighting import Sighting
from monitor.storage.database import Database
from monitor.storage.incidents import SqlIncidentStore
from monitor.storage.reader import SqlIncidentReader
from monitor.streams.stream import BroadcastKind


@dataclass(slots=True)
class Desk:
    """One process's life: a book, its database and its clock."""

    database: Database
    clock: ManualClock
    registry: CollectorRegistry
    store: SqlIncidentStore
    book: IncidentBook
    reader: SqlIncidentReader

    def wait(self, seconds: float) -> None:
        self.clock.now += timedelta(seconds=seconds)
        self.clock.elapsed_s += seconds

    async def see(
        self,
        identity: Identity | None = None,
        sighting: Sighting | None = None,
        *,
        room: str = "room-1",
        account: str = "obama-clone",
        kind: BroadcastKind = BroadcastKind.LIVE,
        write_evidence: WriteEvidence | None = None,
    ) -> Incident:
        return await self.book.observe(
            make_stream(room, account, kind=kind),
            identity or make_identity(),
            sighting or make_sighting(),
            PACK,
            write_evidence,
        )

    async def events(self, incident_id: str) -> list[str]:
        return [entry.event for entry in await self.reader.timeline(incident_id)]

    async def told(self, incident_id: str) -> list[str]:
        return [delivery.transition for delivery in await self.reader.deliveries(incident_id)]

    def restarted(self, elapsed_s: float = 0.0) -> Desk:
        """The same database under a new process, whose monotonic clock begins somewhere else."""
        return make_desk(self.database, ManualClock(now=self.clock.now, elapsed_s=elapsed_s))


def make_desk(database: Database, clock: ManualClock) -> Desk:
    registry = CollectorRegistry()
    store = SqlIncidentStore(database, receivers=["hook"], web_base_url="http://127.0.0.1:8080")
    return Desk(
        database=database,
        clock=clock,
        registry=registry,
        store=store,
        book=IncidentBook(store, IncidentsConfig(), clock, IncidentsMetrics(registry)),
        reader=SqlIncidentReader(database),
    )


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    database = Database(f"sqlite:///{tmp_path}/monitor.db")
    await database.open()
    yield make_desk(database, ManualClock(now=START, elapsed_s=1000.0))
    await database.aclose()
