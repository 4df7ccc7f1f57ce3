"""The gallery's stored references."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.gallery.store import StoredReference
from monitor.storage import references as references_module
from monitor.storage.database import Database
from monitor.storage.references import SqlReferenceStore


def stored(photo: str, pack: str = "pack-1", sharpness: float = 99.5) -> StoredReference:
    embedding = np.random.default_rng(len(photo)).normal(size=128).astype(np.float32)
    return StoredReference(
        photo_sha256=photo,
        pack_digest=pack,
        embedding=embedding / np.linalg.norm(embedding),
        crop_jpeg=b"\xff\xd8" + photo.encode(),
        face_height_px=210.5,
        sharpness=sharpness,
    )


async def test_a_reference_comes_back_bit_for_bit_and_only_for_its_pack(database: Database) -> None:
    store = SqlReferenceStore(database)
    await store.put(stored("a"))
    await store.put(stored("a", "pack-2"))
    (loaded,) = await store.load("pack-1")
    assert loaded.embedding.dtype == np.float32
    assert np.array_equal(loaded.embedding, stored("a").embedding)
    loaded.embedding[0] = 0.0
    assert (loaded.photo_sha256, loaded.crop_jpeg, loaded.face_height_px) == ("a", b"\xff\xd8a", 210.5)
    assert await store.load("pack-3") == []


async def test_putting_again_replaces(database: Database) -> None:
    store = SqlReferenceStore(database)
    await store.put(stored("a"))
    await store.put(stored("a", sharpness=12.0))
    assert [reference.sharpness for reference in await store.load("pack-1")] == [12.0]


async def test_photos_that_are_gone_are_deleted_for_every_pack(database: Database) -> None:
    store = SqlReferenceStore(database)
    for photo in ("a", "b", "c"):
        await store.put(stored(photo))
    await store.put(stored("c", "pack-2"))
    assert await store.keep_only(["a", "never-seen"]) == 3
    assert [reference.photo_sha256 for reference in await store.load("pack-1")] == ["a"]
    assert await store.load("pack-2") == []
    assert await store.keep_only(["a"]) == 0
    assert await store.keep_only([]) == 1


async def test_rows_beyond_those_that_are_read_at_once_are_read_too(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references_module, "_ROWS_AT_ONCE", 2)
    store = SqlReferenceStore(database)
    for photo in "abcde":
        await store.put(stored(photo))
    assert [reference.photo_sha256 for reference in await store.load("pack-1")] == list("abcde")
    assert await store.keep_only(["b"]) == 4
