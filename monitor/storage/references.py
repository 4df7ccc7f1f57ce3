"""The gallery's embeddings in the database."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from sqlalchemy import RowMapping, delete, select
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from monitor.gallery.store import StoredReference
from monitor.storage.database import Database
from monitor.storage.tables import stored_references

_FLOATS = np.dtype("<f4")
_ROWS_AT_ONCE = 500
"""Rows become objects on the event loop, which goes on after so many."""


class SqlReferenceStore:
    """Stored references: photos of protected persons that were accepted, and nothing of anybody else."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, pack_digest: str) -> list[StoredReference]:
        """All rows of one pack.

        :raises StorageError: the database cannot be read.
        """
        query = select(stored_references).where(stored_references.c.pack_digest == pack_digest)

        async def work(connection: AsyncConnection) -> list[StoredReference]:
            found: list[StoredReference] = []
            async with connection.stream(query) as result:
                async for rows in result.mappings().partitions(_ROWS_AT_ONCE):
                    found += [_stored(row) for row in rows]
            return found

        return await self._database.read(work)

    async def put(self, reference: StoredReference) -> None:
        """Insert, or replace the row of the same photo and pack.

        :raises StorageError: the row is not on disk.
        """
        values = {column.name: getattr(reference, column.name) for column in stored_references.columns}
        values["embedding"] = reference.embedding.astype(_FLOATS).tobytes()
        change = upsert(stored_references).values(values)
        change = change.on_conflict_do_update(index_elements=["photo_sha256", "pack_digest"], set_=values)

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(change)

        await self._database.write(work)

    async def keep_only(self, photo_sha256s: Collection[str]) -> int:
        """Delete, for every pack, the rows of photos that are not named; returns how many rows went.

        :raises StorageError: the rows may still be there.
        """

        async def work(connection: AsyncConnection) -> int:
            gone: list[str] = []
            async with connection.stream(select(stored_references.c.photo_sha256).distinct()) as result:
                async for known in result.scalars().partitions(_ROWS_AT_ONCE):
                    gone += [digest for digest in known if digest not in photo_sha256s]
            rows = 0
            # One at a time: a list of unbounded length does not fit into one statement.
            for digest in gone:
                change = delete(stored_references).where(stored_references.c.photo_sha256 == digest)
                rows += (await connection.execute(change)).rowcount
            return rows

        return await self._database.write(work)


def _stored(row: RowMapping) -> StoredReference:
    embedding = np.frombuffer(row["embedding"], dtype=_FLOATS).astype(np.float32)
    return StoredReference(**dict(row) | {"embedding": embedding})
