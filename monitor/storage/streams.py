"""The streams of the API and of the hooks in the database. Their URLs can hold keys: the file is the owner's alone."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import RowMapping, delete, select
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from monitor.errors import ConfigError
from monitor.storage.database import Database
from monitor.storage.tables import streams
from monitor.streams.catalogue import entry_values, read_entry
from monitor.streams.roster import Origin, RosterEntry

log = logging.getLogger(__name__)

_AT_ONCE = 500


class SqlStreamStore:
    """Rows of ``streams``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> list[RosterEntry]:
        """All of them, oldest first. One that this version does not accept is logged and left where it is.

        :raises StorageError: the database cannot be read.
        """

        async def work(connection: AsyncConnection) -> list[RowMapping]:
            return list((await connection.execute(select(streams).order_by(streams.c.number))).mappings())

        return [entry for row in await self._database.read(work) if (entry := _entry_of(row)) is not None]

    async def save(self, put: Sequence[RosterEntry], drop: Collection[str] = ()) -> None:
        """Insert or replace ``put`` and delete the ids in ``drop``, both or nothing.

        :raises StorageError: nothing was changed.
        """

        async def work(connection: AsyncConnection) -> None:
            gone = iter(drop)
            while ids := list(islice(gone, _AT_ONCE)):
                await connection.execute(delete(streams).where(streams.c.id.in_(ids)))
            entries = iter(put)
            while rows := [_row_of(entry) for entry in islice(entries, _AT_ONCE)]:
                change = upsert(streams)
                new = {name: change.excluded[name] for name in rows[0] if name != "id"}
                await connection.execute(change.on_conflict_do_update(index_elements=["id"], set_=new), rows)

        await self._database.write(work)


def _row_of(entry: RosterEntry) -> dict[str, Any]:
    values = entry_values(entry.stream)
    return {
        "id": values.pop("id"),
        "url": values.pop("url"),
        "origin": entry.origin,
        "hook": entry.hook,
        "publisher": entry.publisher,
        "definition": json.dumps(values, ensure_ascii=False),
    }


def _entry_of(row: RowMapping) -> RosterEntry | None:
    try:
        stream = read_entry({"id": row["id"], "url": row["url"], **json.loads(row["definition"])})
        return RosterEntry(stream=stream, origin=Origin(row["origin"]), hook=row["hook"], publisher=row["publisher"])
    except (ConfigError, ValueError, TypeError) as err:
        log.warning("stored_stream_not_accepted stream=%s error=%s", row["id"], err)
        return None
