"""Who may have the database open beside whom."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from support.violations import make_incident

from monitor.errors import StorageError
from monitor.storage.database import Database
from monitor.storage.incidents import SqlIncidentStore
from monitor.storage.reader import SqlIncidentReader

OWNER = """
import asyncio, sys, time
from monitor.storage.database import Database
asyncio.run(Database(sys.argv[1]).open())
print("open", flush=True)
time.sleep(60)
"""


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def contents(path: Path) -> dict[str, bytes]:
    """The files of a database's folder, without the two that SQLite makes for any reader of a WAL database."""
    files = (file for file in path.parent.iterdir() if not file.name.endswith(("-shm", "-wal")))
    return {file.name: file.read_bytes() for file in files}


def lock_of(path: Path) -> Path | None:
    lock = Path(f"{path}.lock")
    return lock if lock.exists() else None


async def is_refused(database: Database) -> None:
    with pytest.raises(StorageError, match=r"a running monitor has it.*stop that monitor first") as refusal:
        await database.open()
    assert str(database.path) in str(refusal.value)
    assert "keeps the gallery up to date by itself" in str(refusal.value)
    with pytest.raises(StorageError, match="not open"):
        await database.writable()


async def reading_is_refused(path: Path, words: str) -> None:
    before = contents(path)
    with pytest.raises(StorageError, match=words) as refusal:
        await Database(url(path)).open_read_only()
    assert str(path) in str(refusal.value)
    assert contents(path) == before


async def save(database: Database, *names: str) -> None:
    store = SqlIncidentStore(database, receivers=[], web_base_url="http://x")
    for name in names:
        await store.save(make_incident(name, room=name))


async def names(database: Database) -> list[str]:
    return [incident.id for incident in await SqlIncidentReader(database).page(limit=10)]


async def test_a_second_one_is_refused_until_the_first_is_closed(database: Database, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(database.path)
    for path in (database.path, link):
        await is_refused(Database(url(path)))
    await database.writable()
    await database.aclose()
    again = Database(url(link))
    await again.open()
    await is_refused(Database(url(database.path)))
    await again.aclose()


async def test_one_that_could_not_be_opened_holds_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "monitor.db"
    path.write_bytes(b"this is somebody's letter" * 200)
    failed = Database(url(path))
    with pytest.raises(StorageError, match="not a monitor's database"):
        await failed.open()
    path.unlink()
    database = Database(url(path))
    await database.open()
    await database.aclose()


async def test_a_killed_process_leaves_no_lock_behind(tmp_path: Path) -> None:
    path = tmp_path / "monitor.db"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        OWNER,
        url(path),
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 30) == b"open\n"
        await is_refused(Database(url(path)))
    finally:
        process.kill()
        await process.wait()
    assert lock_of(path)
    database = Database(url(path))
    await database.open()
    await database.aclose()


async def test_a_reader_sees_what_a_running_daemon_writes_and_holds_nothing_up(database: Database) -> None:
    reader = Database(url(database.path))
    await reader.open_read_only()
    await save(database, "a")
    assert await names(reader) == ["a"]
    await save(database, "b")
    assert await names(reader) == ["b", "a"]
    await database.aclose()
    assert await names(reader) == ["b", "a"], "the daemon may stop"
    await database.open()
    await reader.aclose()
    await save(database, "c")
    assert await names(database) == ["c", "b", "a"]


async def test_a_reader_needs_no_daemon_and_takes_no_lock(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/an odd %23 %3F 100%25 folder/monitor.db")
    await database.open()
    await save(database, "a")
    await database.aclose()
    lock = lock_of(database.path)
    assert lock
    os.unlink(lock)
    await database.open_read_only()
    assert await names(database) == ["a"]
    assert lock_of(database.path) is None
    await database.aclose()


async def test_a_reader_cannot_write(database: Database) -> None:
    reader = Database(url(database.path))
    await reader.open_read_only()

    async def insert(connection: AsyncConnection) -> None:
        await connection.execute(text("INSERT INTO stored_references VALUES ('a', 'b', x'00', x'00', 1.0, 1.0)"))

    for attempt in (reader.write(insert), reader.read(insert)):
        with pytest.raises(StorageError, match="cannot be written"):
            await attempt
    await reader.aclose()


async def test_what_a_reader_cannot_use_is_refused_with_the_remedy_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "monitor.db"
    await reading_is_refused(path, "there is none .*the daemon makes it when it starts")
    sqlite3.connect(path).close()
    await reading_is_refused(path, "missing or an older version's; start this version's daemon once")
    path.write_bytes(b"this is somebody's letter" * 200)
    await reading_is_refused(path, "not a monitor's database")


async def test_a_reader_refuses_tables_of_a_newer_version(database: Database) -> None:
    await database.aclose()
    with sqlite3.connect(database.path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    await reading_is_refused(database.path, "newer version .*9999.*install that version")
