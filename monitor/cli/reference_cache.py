"""The embeddings that the daemon's database holds, for commands that must not write it."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from monitor.errors import StorageError

if TYPE_CHECKING:
    from monitor.config import MonitorConfig
    from monitor.gallery.store import ReferenceStore, StoredReference


class ReadOnlyStore:
    """Hands out what the database knows, and writes nothing. A database that cannot be read knows nothing."""

    def __init__(self, source: ReferenceStore | None) -> None:
        self._source = source

    async def load(self, pack_digest: str) -> Sequence[StoredReference]:
        try:
            return await self._source.load(pack_digest) if self._source else ()
        except StorageError as err:
            _note(err)
            return ()

    async def put(self, reference: StoredReference) -> None:
        """Forgets it."""

    async def keep_only(self, photo_sha256s: Collection[str]) -> int:
        """Deletes nothing."""
        return 0


@asynccontextmanager
async def stored_references(config: MonitorConfig) -> AsyncGenerator[ReadOnlyStore, None]:
    """What the configured database holds, read beside a daemon that may be using it; nothing where there is none."""
    from monitor.storage.database import Database
    from monitor.storage.references import SqlReferenceStore

    database = Database(config.storage.url)
    if not database.path.exists():
        yield ReadOnlyStore(None)
        return
    try:
        await database.open_read_only()
    except StorageError as err:
        _note(err)
        yield ReadOnlyStore(None)
        return
    try:
        yield ReadOnlyStore(SqlReferenceStore(database))
    finally:
        await database.aclose()


def _note(err: StorageError) -> None:
    print(f"monitor: every photo is analysed anew, no stored embedding can be used: {err}", file=sys.stderr)
