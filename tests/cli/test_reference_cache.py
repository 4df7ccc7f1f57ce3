"""Commands that only read use what the daemon has stored, and leave its database as it is."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from monitor.cli.reference_cache import stored_references
from monitor.config import MonitorConfig, load_config
from monitor.gallery.store import StoredReference
from monitor.storage.database import Database
from monitor.storage.references import SqlReferenceStore

STORED = StoredReference(
    photo_sha256="a",
    pack_digest="pack",
    embedding=np.eye(1, 128, dtype=np.float32)[0],
    crop_jpeg=b"crop",
    face_height_px=200.0,
    sharpness=99.0,
)


@pytest.fixture
def config(operator: Path) -> MonitorConfig:
    config = load_config(Path("config/monitor.yaml"), os.environ)
    (operator / "data").mkdir()
    return config


async def photos(config: MonitorConfig) -> list[str]:
    async with stored_references(config) as store:
        return [row.photo_sha256 for row in await store.load("pack")]


async def test_what_a_running_daemon_has_stored_is_read_beside_it(config: MonitorConfig) -> None:
    database = Database(config.storage.url)
    await database.open()
    try:
        await SqlReferenceStore(database).put(STORED)
        assert await photos(config) == ["a"]
    finally:
        await database.aclose()


async def test_what_a_stopped_daemon_has_stored_is_read_and_not_changed(config: MonitorConfig) -> None:
    database = Database(config.storage.url)
    await database.open()
    await SqlReferenceStore(database).put(STORED)
    await database.aclose()
    before = database.path.read_bytes()
    assert await photos(config) == ["a"]
    assert database.path.read_bytes() == before


async def test_without_a_database_nothing_is_stored_and_none_is_made(
    config: MonitorConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await photos(config) == []
    assert not Path("data/monitor.db").exists()  # noqa: ASYNC240
    assert capsys.readouterr().err == ""


def empty(path: Path) -> None:
    path.touch()


def of_another_version(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES ('0000')")
    connection.close()


def no_database(path: Path) -> None:
    path.write_bytes(b"this is no database" * 100)


@pytest.mark.parametrize("make", [empty, of_another_version, no_database])
async def test_a_database_that_cannot_be_used_counts_as_empty_is_said_and_stays_as_it_is(
    config: MonitorConfig, capsys: pytest.CaptureFixture[str], make
) -> None:
    path = Path("data/monitor.db").absolute()  # noqa: ASYNC240
    make(path)
    before = path.read_bytes()
    assert await photos(config) == []
    assert path.read_bytes() == before
    assert "no stored embedding can be used: database" in capsys.readouterr().err
