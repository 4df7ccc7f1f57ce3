"""Streams in the database: kept whole, changed all or nothing, and readable by their owner only."""

from __future__ import annotations

import os
import sqlite3
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from monitor.errors import StorageError
from monitor.storage.database import Database
from monitor.storage.streams import SqlStreamStore
from monitor.streams.roster import Origin, RosterEntry
from monitor.streams.stream import BroadcastKind, Stream

STREAM = Stream(
    id="a",
    url="https://example.com/x.m3u8?key=s3cret",
    platform="p",
    account="账号",
    room="1",
    title="Sale",
    products=("lipstick",),
    tags=("vip",),
    kind=BroadcastKind.DIGITAL_HUMAN,
)
ADDED = RosterEntry(stream=STREAM, origin=Origin.API)
HOOKED = RosterEntry(stream=replace(STREAM, id="b"), origin=Origin.HOOK, hook="cdn", publisher="77")


async def test_what_is_saved_is_loaded_whole_and_in_the_order_in_which_it_came(database: Database) -> None:
    store = SqlStreamStore(database)
    await store.save([HOOKED, ADDED])
    changed = replace(HOOKED, publisher="78")
    await store.save([changed])
    assert await store.load() == [changed, ADDED]
    await store.save([], ["b", "unknown"])
    assert await store.load() == [ADDED]


async def test_thousands_are_saved_and_dropped_in_one_step(database: Database) -> None:
    store = SqlStreamStore(database)
    many = [replace(ADDED, stream=replace(STREAM, id=f"s{number}")) for number in range(1_700)]
    await store.save(many)
    assert await store.load() == many
    await store.save([ADDED], [entry.stream.id for entry in many])
    assert await store.load() == [ADDED]


async def test_a_change_that_fails_changes_nothing(database: Database) -> None:
    store = SqlStreamStore(database)
    await store.save([ADDED])

    async def forbid(connection: AsyncConnection) -> None:
        await connection.exec_driver_sql(
            "CREATE TRIGGER no_b BEFORE INSERT ON streams WHEN NEW.id = 'b' BEGIN SELECT RAISE(ABORT, 'no'); END"
        )

    await database.write(forbid)
    with pytest.raises(StorageError):
        await store.save([HOOKED], ["a"])
    assert await store.load() == [ADDED]


async def test_a_row_that_this_version_does_not_accept_is_left_out_and_left_where_it_is(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    store = SqlStreamStore(database)
    await store.save([ADDED, HOOKED])

    async def spoil(connection: AsyncConnection) -> None:
        await connection.exec_driver_sql("UPDATE streams SET definition = '{\"kind\": \"robot\"}' WHERE id = 'a'")

    await database.write(spoil)
    assert await store.load() == [HOOKED]
    assert "stored_stream_not_accepted stream=a" in caplog.text
    assert "s3cret" not in caplog.text

    async def count(connection: AsyncConnection) -> int:
        return int((await connection.exec_driver_sql("SELECT count(*) FROM streams")).scalar_one())

    assert await database.read(count) == 2


async def test_a_new_database_and_the_files_beside_it_are_the_owners_alone(database: Database) -> None:
    await SqlStreamStore(database).save([ADDED])
    files = list(database.path.parent.glob("monitor.db*"))
    assert len(files) >= 2, "there is a journal beside it"
    assert {stat.S_IMODE(file.stat().st_mode) & 0o077 for file in files} == {0}


async def test_an_older_database_that_others_may_read_is_named_with_the_remedy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "old.db"
    sqlite3.connect(path).close()
    path.touch()
    os.chmod(path, 0o644)
    database = Database(f"sqlite:///{path}")
    await database.open()
    await database.aclose()
    assert f"chmod 600 {path}" in caplog.text
    assert stat.S_IMODE(path.stat().st_mode) == 0o644, "whom the operator gave the right keeps it"
