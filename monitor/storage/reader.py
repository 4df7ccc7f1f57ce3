"""Reads of incidents for the pages and the API."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from monitor.alerts.delivery import Delivery
from monitor.incidents.incident import Decision, Incident, IncidentState, TimelineEntry
from monitor.storage.database import Database
from monitor.storage.incidents import incident_of
from monitor.storage.tables import incidents, outbox, timeline


class SqlIncidentReader:
    """What was recorded. Every method raises StorageError when the database cannot be read."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
    ) -> list[Incident]:
        """At most ``limit`` incidents, newest (highest id) first, all with an id below ``before``.

        A filter that is None filters nothing.
        """
        query = select(incidents).order_by(incidents.c.id.desc()).limit(limit)
        equal = {"state": state, "identity_id": identity_id, "platform": platform, "account": account, "room": room}
        for name, wanted in equal.items():
            if wanted is not None:
                query = query.where(incidents.c[name] == wanted)
        if decisions is not None:
            query = query.where(incidents.c.decision.in_(list(decisions)))
        if before is not None:
            query = query.where(incidents.c.id < before)
        return await self._incidents(query)

    async def get(self, incident_id: str) -> Incident | None:
        """One incident, or None if there is none of that id."""
        found = await self._incidents(select(incidents).where(incidents.c.id == incident_id))
        return found[0] if found else None

    async def timeline(self, incident_id: str) -> list[TimelineEntry]:
        """What happened to an incident, oldest first."""
        columns = [column for column in timeline.columns if column.name != "id"]
        query = select(*columns).where(timeline.c.incident_id == incident_id).order_by(timeline.c.id)

        async def work(connection: AsyncConnection) -> list[TimelineEntry]:
            return [TimelineEntry(**row) for row in (await connection.execute(query)).mappings()]

        return await self._database.read(work)

    async def deliveries(self, incident_id: str) -> list[Delivery]:
        """How the alerts of an incident fared, oldest first, then by receiver."""
        left_out = ("incident_id", "alert")
        columns = [column for column in outbox.columns if column.name not in left_out]
        query = (
            select(*columns).where(outbox.c.incident_id == incident_id).order_by(outbox.c.sequence, outbox.c.receiver)
        )

        async def work(connection: AsyncConnection) -> list[Delivery]:
            rows = (await connection.execute(query)).mappings()
            return [Delivery(**row) for row in rows]

        return await self._database.read(work)

    async def _incidents(self, query: Select[tuple[object, ...]]) -> list[Incident]:
        async def work(connection: AsyncConnection) -> list[Incident]:
            return [incident_of(row) for row in (await connection.execute(query)).mappings()]

        return await self._database.read(work)
