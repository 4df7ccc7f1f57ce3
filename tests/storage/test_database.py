"""The database file: how it is opened, refused, migrated and closed."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from pydantic import ValidationError
from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection
from support.violations import make_incident

from monitor.errors import StorageError
from monitor.incidents.incident import EvidenceRecord, Incident
from monitor.sightings.presence import Presence
from monitor.storage.config import StorageConfig
from monitor.storage.database import Database
from monitor.storage.incidents import SqlIncidentStore
from monitor.storage.tables import metadata


async def opening_fails(path: Path, words: str) -> None:
    database = Database(f"sqlite:///{path}")
    with pytest.raises(StorageError, match=words) as failure:
        await database.open()
    assert str(path) in str(failure.value)


async def test_the_migrations_make_exactly_the_tables_of_the_code(database: Database) -> None:
    engine = create_engine(f"sqlite:///{database.path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


async def test_every_connection_is_durable_and_enforces_foreign_keys(database: Database) -> None:
    async def pragmas(connection: AsyncConnection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return [(await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one() for name in names]

    assert await database.read(pragmas) == ["wal", 2, 1, 5000]
    assert await database.write(pragmas) == ["wal", 2, 1, 5000]


async def test_missing_folders_are_made_and_what_was_written_is_there_after_opening_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new/folder/monitor.db"
    first = Database(url)
    await first.open()
    await SqlIncidentStore(first, receivers=[], web_base_url="http://x").save(make_incident())
    await first.aclose()
    second = Database(url)
    await second.open()
    assert await SqlIncidentStore(second, receivers=[], web_base_url="http://x").load_open() == [make_incident()]
    await second.aclose()


@contextmanager
def database_at(revision: str, path: Path) -> Iterator[Connection]:
    """A file with the tables of an older version."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", "monitor.storage:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        yield connection
    engine.dispose()


def add_incident(connection: Connection, incident_id: str, **values: object) -> None:
    """An open violation, in the columns that there are."""
    row = dict.fromkeys(column["name"] for column in inspect(connection).get_columns("incidents"))
    row |= dict.fromkeys(row, "2026-01-02T03:04:05.678901Z") | {"state": "open", "products": "[]", "similarity": 0.5}
    row |= {"decision": "no_permission", "closed_at": None, "manifest_sha256": None} | values
    row |= {"id": incident_id, "room": incident_id}
    connection.execute(text(f"INSERT INTO incidents ({', '.join(row)}) VALUES (:{', :'.join(row)})"), row)


async def opened(path: Path) -> list[Incident]:
    """The open incidents of a file that this version brings up to date."""
    database = Database(f"sqlite:///{path}")
    await database.open()
    found = await SqlIncidentStore(database, receivers=[], web_base_url="http://x").load_open()
    await database.aclose()
    return found


async def test_incidents_of_a_database_without_presence_are_read_as_presented(tmp_path: Path) -> None:
    with database_at("0002", tmp_path / "monitor.db") as connection:
        add_incident(connection, "old")
    (incident,) = await opened(tmp_path / "monitor.db")
    assert (incident.id, incident.presence) == ("old", Presence.PRESENTER)


async def test_evidence_of_an_older_database_is_its_incidents_only_one_and_shows_it_as_it_is(tmp_path: Path) -> None:
    with database_at("0003", tmp_path / "monitor.db") as connection:
        add_incident(connection, "A", presence="static_image", manifest_sha256="a" * 64)
        add_incident(connection, "B", presence="inset")
    recorded, without = await opened(tmp_path / "monitor.db")
    record = EvidenceRecord(folder="A", manifest_sha256="a" * 64, presence=Presence.STATIC_IMAGE)
    assert (recorded.evidence, without.evidence) == ((record,), ())
    assert (recorded.manifest_sha256, without.manifest_sha256) == ("a" * 64, None)


async def test_of_incidents_of_an_older_database_nobody_says_what_the_pictures_were_worth(tmp_path: Path) -> None:
    with database_at("0004", tmp_path / "monitor.db") as connection:
        add_incident(connection, "A", presence="inset", evidence="[]")
    (incident,) = await opened(tmp_path / "monitor.db")
    assert (incident.presence, incident.log_likelihood, incident.log_likelihood_needed) == (Presence.INSET, None, None)


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(database: Database) -> None:
    await database.aclose()
    connection = sqlite3.connect(database.path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    await opening_fails(database.path, "newer version .*9999.*install that version")


async def test_a_migration_that_fails_half_way_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "monitor.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE stored_references (somebody_elses TEXT)")
    connection.close()
    await opening_fails(path, "already exists")
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("stored_references",)]
    connection.close()


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "monitor.db"
    path.write_bytes(b"this is somebody's letter" * 200)
    await opening_fails(path, "not a monitor's database; move it away")
    assert path.read_bytes() == b"this is somebody's letter" * 200


async def test_a_damaged_database_is_refused(database: Database) -> None:
    store = SqlIncidentStore(database, receivers=[], web_base_url="http://x")
    for number in range(30):
        await store.save(make_incident(f"id-{number:023}", room=f"room-{number}"))
    await database.aclose()
    with database.path.open("r+b") as file:
        size = database.path.stat().st_size
        assert size > 8 * 4096
        file.seek(2 * 4096)
        file.write(os.urandom(size - 2 * 4096))
    await opening_fails(database.path, "damaged; move it away and put back a backup")


async def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    if os.access(folder, os.W_OK):  # root may write everywhere but here
        folder = Path("/proc/self")
    await opening_fails(folder / "monitor.db", "give this user the right to read and write the file and its folder")
    await opening_fails(folder / "deeper" / "monitor.db", "its folder cannot be made")


async def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    await opening_fails(tmp_path / "data" / "monitor.db", "its folder cannot be made")


async def test_a_failed_transaction_leaves_nothing_behind(database: Database) -> None:
    async def half(connection: AsyncConnection) -> None:
        await connection.execute(text("INSERT INTO stored_references VALUES ('a', 'b', x'00', x'00', 1.0, 1.0)"))
        await connection.execute(text("INSERT INTO nowhere VALUES (1)"))

    with pytest.raises(StorageError, match="no such table"):
        await database.write(half)

    async def count(connection: AsyncConnection) -> object:
        return (await connection.execute(text("SELECT count(*) FROM stored_references"))).scalar_one()

    assert await database.read(count) == 0


async def test_a_cancelled_writer_does_not_interrupt_its_transaction(database: Database) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def slow(connection: AsyncConnection) -> None:
        await connection.execute(text("INSERT INTO stored_references VALUES ('a', 'b', x'00', x'00', 1.0, 1.0)"))
        inside.set()
        await go_on.wait()

    writing = asyncio.create_task(database.write(slow))
    await inside.wait()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    closing = asyncio.create_task(database.aclose())
    go_on.set()
    await closing
    connection = sqlite3.connect(database.path)
    assert connection.execute("SELECT count(*) FROM stored_references").fetchone() == (1,)
    connection.close()


async def test_readers_are_not_held_up_by_a_writer(database: Database) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def slow(connection: AsyncConnection) -> None:
        await connection.execute(text("INSERT INTO stored_references VALUES ('a', 'b', x'00', x'00', 1.0, 1.0)"))
        inside.set()
        await go_on.wait()

    async def count(connection: AsyncConnection) -> object:
        return (await connection.execute(text("SELECT count(*) FROM stored_references"))).scalar_one()

    writing = asyncio.create_task(database.write(slow))
    await inside.wait()
    assert await asyncio.wait_for(database.read(count), 30) == 0
    go_on.set()
    await writing
    assert await database.read(count) == 1


async def test_a_closed_database_says_so_and_closing_twice_is_harmless(database: Database) -> None:
    await database.writable()
    await database.aclose()
    await database.aclose()
    with pytest.raises(StorageError, match="not open"):
        await database.writable()


async def test_a_database_that_was_locked_for_good_is_not_writable(database: Database) -> None:
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StorageError, match="another process holds it"):
            await database.writable()
    finally:
        other.close()
    await database.writable()


@pytest.mark.parametrize(
    "url",
    [
        "monitor.db",
        "",
        "postgresql://db/monitor",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:x?mode=ro",
        "sqlite:///a.db?cache=shared",
    ],
)
def test_an_address_that_names_no_sqlite_file_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="must "):
        StorageConfig(url=url)


def test_both_spellings_of_the_address_are_allowed() -> None:
    assert StorageConfig().url == "sqlite:///data/monitor.db"
    url = StorageConfig(url="sqlite+aiosqlite:////var/lib/monitor.db").url
    assert Database(url).path == Path("/var/lib/monitor.db")
