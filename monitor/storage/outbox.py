"""The outbox in the database."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, Select, Update, and_, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from monitor.alerts.alert import Alert
from monitor.alerts.outbox import OutboxEntry
from monitor.alerts.retry import WAIT_LONGEST_S
from monitor.incidents.incident import IncidentState, Transition
from monitor.storage.database import Database
from monitor.storage.tables import incidents, outbox

log = logging.getLogger(__name__)

_other = outbox.alias("other")
_WAITING = and_(outbox.c.delivered_at.is_(None), outbox.c.dead_at.is_(None))
_OTHER_OF_QUEUE = and_(_other.c.incident_id == outbox.c.incident_id, _other.c.receiver == outbox.c.receiver)


class SqlOutbox:
    """Rows that ``SqlIncidentStore`` wrote. Every method raises StorageError when the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(self, receiver: str, now: datetime, limit: int) -> list[OutboxEntry]:
        """The receiver's rows to send now, oldest first; of each incident only its oldest waiting row.

        A row that cannot be read, such as a newer version's, is dead from now on and holds back nothing.
        """
        earlier_waits = exists().where(
            _OTHER_OF_QUEUE,
            _other.c.sequence < outbox.c.sequence,
            _other.c.delivered_at.is_(None),
            _other.c.dead_at.is_(None),
        )
        # A time further off than anyone may ask for was written before the machine's clock was set back.
        unbelievable = now + timedelta(seconds=2 * WAIT_LONGEST_S)
        its_time = or_(outbox.c.next_attempt_at <= now, outbox.c.next_attempt_at > unbelievable)
        query = (
            select(outbox)
            .where(outbox.c.receiver == receiver, _WAITING, its_time, ~earlier_waits)
            .order_by(outbox.c.created_at, outbox.c.id)
            .limit(limit)
        )
        while True:
            entries, unreadable = await self._entries(query)
            if not unreadable:
                return entries
            for entry_id, why in unreadable.items():
                await self.dead(entry_id, now, f"cannot be read: {why}")

    async def delivered(self, entry_id: str, at: datetime) -> None:
        """The receiver has it."""
        await self._change(update(outbox).where(outbox.c.id == entry_id).values(delivered_at=at))

    async def failed(self, entry_id: str, *, next_attempt_at: datetime, error: str) -> None:
        """One more attempt failed; the row is due again at ``next_attempt_at``."""
        await self._change(
            update(outbox)
            .where(outbox.c.id == entry_id)
            .values(attempts=outbox.c.attempts + 1, next_attempt_at=next_attempt_at, last_error=error)
        )

    async def dead(self, entry_id: str, at: datetime, error: str) -> None:
        """The receiver will never take it; the row is kept with the reason."""
        await self._change(
            update(outbox)
            .where(outbox.c.id == entry_id)
            .values(attempts=outbox.c.attempts + 1, dead_at=at, last_error=error)
        )

    async def in_force(self, receiver: str) -> list[OutboxEntry]:
        """For each violation that is open now, the last row, if the receiver has it already."""
        replaced = exists().where(
            _OTHER_OF_QUEUE,
            _other.c.sequence > outbox.c.sequence,
            or_(_other.c.dead_at.is_(None), _other.c.transition == Transition.RESOLVED),
        )
        query = (
            select(outbox)
            .join(incidents, incidents.c.id == outbox.c.incident_id)
            .where(
                outbox.c.receiver == receiver,
                outbox.c.delivered_at.is_not(None),
                outbox.c.transition != Transition.RESOLVED,
                incidents.c.state == IncidentState.OPEN,
                ~replaced,
            )
            .order_by(outbox.c.created_at, outbox.c.id)
        )
        entries, _unreadable = await self._entries(query)
        return entries

    async def pending(self, receiver: str) -> int:
        """How many rows are neither delivered nor dead."""
        query = select(func.count()).select_from(outbox).where(outbox.c.receiver == receiver, _WAITING)

        async def work(connection: AsyncConnection) -> int:
            return int((await connection.execute(query)).scalar_one())

        return await self._database.read(work)

    async def _entries(self, query: Select[tuple[Any, ...]]) -> tuple[list[OutboxEntry], dict[str, str]]:
        """The rows that can be read, and of each other one its id and the reason."""

        async def work(connection: AsyncConnection) -> list[RowMapping]:
            return list((await connection.execute(query)).mappings())

        entries, unreadable = [], {}
        for row in await self._database.read(work):
            try:
                entries.append(_entry_of(row))
            except ValueError as err:
                unreadable[row["id"]] = str(err)
                log.error(
                    "alert_unreadable receiver=%s webhook_id=%s incident=%s error=%r",
                    row["receiver"],
                    row["id"],
                    row["incident_id"],
                    str(err),
                )
        return entries, unreadable

    async def _change(self, change: Update) -> None:
        async def work(connection: AsyncConnection) -> None:
            await connection.execute(change)

        await self._database.write(work)


def _entry_of(row: RowMapping) -> OutboxEntry:
    """:raises ValueError: its alert is not one, to this version."""
    return OutboxEntry(
        id=row["id"],
        receiver=row["receiver"],
        alert=Alert.from_dict(json.loads(row["alert"])),
        created_at=row["created_at"],
        attempts=row["attempts"],
    )
