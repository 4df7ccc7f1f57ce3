"""The embeddings that the daemon's database holds, for commands that must not write it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monitor.config import MonitorConfig
    from monitor.gallery.store import ReferenceStore, StoredReference


class ReadOnlyStore:
    """Remembers what the database knew, and writes nothing."""

    def __init__(self, source: ReferenceStore | None) -> None:
        self._source = source

    async def load(self, pack_digest: str) -> Sequence[StoredReference]:
        return await self._source.load(pack_digest) if self._source else ()

    async def put(self, reference: StoredReference) -> None:
        """Forgets it."""

    async def keep_only(self, photo_sha256s: Collection[str]) -> int:
        """Deletes nothing."""
        return 0


@asynccontextmanager
async def stored_references(config: MonitorConfig) -> AsyncGenerator[ReadOnlyStore, None]:
    """What the configured database holds; nothing where there is no database yet."""
    from monitor.storage.database import Database
    from monitor.storage.references import SqlReferenceStore

    database = Database(config.storage.url)
    if not database.path.exists():
        yield ReadOnlyStore(None)
        return
    await database.open()
    try:
        yield ReadOnlyStore(SqlReferenceStore(database))
    finally:
        await database.aclose()
