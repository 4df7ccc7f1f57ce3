"""What it takes to keep references over a restart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from monitor.bench.gallery_row import Stored
from monitor.gallery.identity import Reference
from monitor.gallery.store import StoredReference
from monitor.storage.database import Database
from monitor.storage.references import SqlReferenceStore
from monitor.storage.tables import stored_references

_SAVED = 200
"""Written one by one; the rest in one transaction, which takes less time and is not measured."""
_CROP = bytes(4000)
"""As large as the picture of a face."""


def measure_store(folder: Path, references: Sequence[Reference]) -> Stored:
    """Write ``references`` to a database in ``folder``, and read them.

    :raises StorageError: the folder cannot be written.
    """
    url = f"sqlite:///{folder.absolute()}/gallery.db"
    return asyncio.run(_measure(url, [_stored(reference) for reference in references]))


async def _measure(url: str, rows: Sequence[StoredReference]) -> Stored:
    database = Database(url)
    await database.open()
    try:
        store = SqlReferenceStore(database)
        one_by_one, rest = rows[:_SAVED], rows[_SAVED:]
        started = time.perf_counter()
        for row in one_by_one:
            await store.put(row)
        saved_s = time.perf_counter() - started

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(insert(stored_references), [_values(row) for row in rest])

        if rest:
            await database.write(work)
        started = time.perf_counter()
        loaded = len(await store.load(rows[0].pack_digest))
        loaded_s = time.perf_counter() - started
    finally:
        await database.aclose()
    assert loaded == len(rows), "each was written once"
    return Stored(references=loaded, save_ms=1000 * saved_s / len(one_by_one), load_ms=1000 * loaded_s / loaded)


def _stored(reference: Reference) -> StoredReference:
    return StoredReference(
        photo_sha256=reference.photo_sha256,
        pack_digest=reference.pack_digest,
        embedding=reference.embedding,
        crop_jpeg=_CROP,
        face_height_px=reference.face_height_px,
        sharpness=100.0,
    )


def _values(row: StoredReference) -> dict[str, object]:
    values = {column.name: getattr(row, column.name) for column in stored_references.columns}
    return values | {"embedding": row.embedding.tobytes()}
