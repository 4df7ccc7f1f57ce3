"""Incidents in the database: each change with its timeline and its outbox rows in one transaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import RowMapping, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection
from ulid import ULID

from monitor.alerts.alert import Alert, AlertLinks
from monitor.errors import StorageError
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
from monitor.storage.database import Database
from monitor.storage.tables import incidents, outbox, timeline

_KEY = ("identity_id", "platform", "account", "room")


class SqlIncidentStore:
    """What the incident book writes.

    :param receivers: names of the receivers that each transition is to be told to.
    :param web_base_url: where people reach the pages, for the alerts' links.
    :param wake: called after a transaction that wrote outbox rows; the dispatcher's ``nudge``.
    """

    def __init__(
        self,
        database: Database,
        *,
        receivers: Sequence[str],
        web_base_url: str,
        runbook_url: str | None = None,
        wake: Callable[[], None] | None = None,
    ) -> None:
        self._database = database
        self._receivers = tuple(receivers)
        self._web_base_url = web_base_url.rstrip("/")
        self._runbook_url = runbook_url
        self._wake = wake

    async def load_open(self) -> list[Incident]:
        query = select(incidents).where(incidents.c.state == IncidentState.OPEN).order_by(incidents.c.id)

        async def work(connection: AsyncConnection) -> list[Incident]:
            return [incident_of(row) for row in (await connection.execute(query)).mappings()]

        return await self._database.read(work)

    async def save(
        self, incident: Incident, *, timeline: Sequence[TimelineEntry] = (), transition: Transition | None = None
    ) -> None:
        async def work(connection: AsyncConnection) -> None:
            row = _row_of(incident)
            await connection.execute(
                upsert(incidents).values(row).on_conflict_do_update(index_elements=["id"], set_=row)
            )
            for entry in timeline:
                await _add_to_timeline(connection, entry)
            if transition is not None:
                await self._tell(connection, incident, transition, timeline[0])

        await self._database.write(work)
        if transition is not None and self._wake is not None:
            self._wake()

    async def _tell(
        self, connection: AsyncConnection, incident: Incident, transition: Transition, entry: TimelineEntry
    ) -> None:
        alert = Alert.about(
            incident,
            transition,
            at=entry.at,
            reason=entry.reason,
            detail=entry.detail,
            other_rooms=await _other_rooms(connection, incident),
            links=AlertLinks.to(incident, web_base_url=self._web_base_url, runbook_url=self._runbook_url),
        )
        text = json.dumps(alert.to_dict(), ensure_ascii=False)
        rows = [
            {
                "id": f"msg_{ULID()}",
                "incident_id": incident.id,
                "receiver": receiver,
                "transition": transition,
                "sequence": incident.sequence,
                "alert": text,
                "created_at": entry.at,
                "attempts": 0,
                "next_attempt_at": entry.at,
            }
            for receiver in self._receivers
        ]
        if rows:
            await connection.execute(insert(outbox), rows)


async def _add_to_timeline(connection: AsyncConnection, entry: TimelineEntry) -> None:
    await connection.execute(
        insert(timeline).values(
            incident_id=entry.incident_id,
            at=entry.at,
            event=entry.event,
            reason=entry.reason,
            detail=entry.detail,
        )
    )


async def _other_rooms(connection: AsyncConnection, incident: Incident) -> list[str]:
    query = (
        select(incidents.c.platform, incidents.c.account, incidents.c.room)
        .where(
            incidents.c.identity_id == incident.key.identity_id,
            incidents.c.state == IncidentState.OPEN,
            incidents.c.id != incident.id,
        )
        .order_by(incidents.c.id)
    )
    return ["/".join(row) for row in await connection.execute(query)]


def _row_of(incident: Incident) -> dict[str, Any]:
    row = {column.name: getattr(incident, column.name) for column in incidents.columns if column.name not in _KEY}
    key = {name: getattr(incident.key, name) for name in _KEY}
    texts = {
        "products": json.dumps(list(incident.products), ensure_ascii=False),
        "evidence": json.dumps([asdict(record) for record in incident.evidence]),
    }
    return row | key | texts


def incident_of(row: RowMapping) -> Incident:
    """The incident that a row of ``incidents`` holds.

    :raises StorageError: another version of the monitor wrote it, in words that this one does not know.
    """
    fields = dict(row)
    key = IncidentKey(**{name: fields.pop(name) for name in _KEY})
    # For those who query the file; the newest record says the same.
    fields.pop("manifest_sha256")
    try:
        fields["state"] = IncidentState(fields["state"])
        fields["decision"] = Decision(fields["decision"])
        fields["presence"] = Presence(fields["presence"])
        fields["products"] = tuple(json.loads(fields["products"]))
        fields["evidence"] = tuple(_record_of(record) for record in json.loads(fields["evidence"]))
    except (KeyError, TypeError, ValueError) as err:
        raise StorageError(
            f"incident {fields['id']} cannot be read ({err}); install the version of the monitor that wrote it"
        ) from err
    return Incident(key=key, **fields)


def _record_of(record: dict[str, str]) -> EvidenceRecord:
    return EvidenceRecord(
        folder=record["folder"], manifest_sha256=record["manifest_sha256"], presence=Presence(record["presence"])
    )
