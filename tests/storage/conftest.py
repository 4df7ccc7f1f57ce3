"""A real database file, and a store that tells two receivers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from monitor.storage.database import Database
from monitor.storage.incidents import SqlIncidentStore
from monitor.storage.outbox import SqlOutbox
from monitor.storage.reader import SqlIncidentReader


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/monitor.db")
    await database.open()
    yield database
    await database.aclose()


@pytest.fixture
def store(database: Database) -> SqlIncidentStore:
    return SqlIncidentStore(database, receivers=["hook", "am"], web_base_url="https://likeness.example.org/")


@pytest.fixture
def reader(database: Database) -> SqlIncidentReader:
    return SqlIncidentReader(database)


@pytest.fixture
def outbox(database: Database) -> SqlOutbox:
    return SqlOutbox(database)
