"""Brings the database file to this version's tables. Synchronous: runs in a thread."""

from __future__ import annotations

import os
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from monitor.errors import StorageError
from monitor.storage.sqlite import file_url, prepare_engine


def migrate(path: Path) -> None:
    """Create the file or bring it up to date, in one transaction: killed at any instant, it is the old or the new.

    :raises StorageError: the file is damaged, written by a newer version, or cannot be written; says what to do.
    """
    engine = create_engine(file_url("sqlite", path), poolclass=NullPool)
    prepare_engine(engine)
    try:
        with engine.connect() as connection:
            _refuse_damaged(connection, path)
        with engine.connect().execution_options(begin="BEGIN IMMEDIATE") as connection, connection.begin():
            _upgrade(connection, path)
    except SQLAlchemyError as err:
        raise unusable(path, err) from err
    finally:
        engine.dispose()


def check_readable(path: Path) -> None:
    """Return if the file holds exactly this version's tables; writes nothing.

    :raises StorageError: it does not; says what to do.
    """
    if not os.path.exists(path):
        raise StorageError(f"database {path}: there is none that this user can see; the daemon makes it when it starts")
    engine = create_engine(file_url("sqlite", path, read_only=True), poolclass=NullPool)
    prepare_engine(engine, read_only=True)
    try:
        with engine.connect() as connection:
            config = _alembic_config(connection)
            present = _known_heads(config, connection, path)
    except SQLAlchemyError as err:
        raise unusable(path, err) from err
    finally:
        engine.dispose()
    if present != set(ScriptDirectory.from_config(config).get_heads()):
        raise StorageError(
            f"database {path}: its tables are missing or an older version's; start this version's daemon once, which "
            "brings them up to date, or name another file in storage.url"
        )


def unusable(path: Path, err: SQLAlchemyError) -> StorageError:
    """What SQLite said about the file, with the remedy."""
    said = str(getattr(err, "orig", None) or err)
    known = (
        ("not a database", "it is not a monitor's database; move it away or name another file in storage.url"),
        ("malformed", "it is damaged; move it away and put back a backup"),
        ("readonly", "it cannot be written; give this user the right to write the file and its folder"),
        ("unable to open", "it cannot be opened; give this user the right to read and write the file and its folder"),
        ("locked", "another process holds it; stop that one first"),
        ("full", "the disk is full; free some space"),
        ("disk I/O error", "the disk failed or is full; check it"),
    )
    remedy = next((remedy for word, remedy in known if word in said), "check the file and its folder")
    return StorageError(f"database {path}: {remedy} (SQLite: {said})")


def _refuse_damaged(connection: Connection, path: Path) -> None:
    found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if found != "ok":
        raise StorageError(f"database {path}: it is damaged; move it away and put back a backup (SQLite: {found})")


def _upgrade(connection: Connection, path: Path) -> None:
    config = _alembic_config(connection)
    _known_heads(config, connection, path)
    try:
        command.upgrade(config, "head")
    except CommandError as err:
        raise StorageError(f"database {path}: its tables cannot be brought up to date: {err}") from err


def _alembic_config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", "monitor.storage:migrations")
    config.attributes["connection"] = connection
    return config


def _known_heads(config: Config, connection: Connection, path: Path) -> set[str]:
    """The revisions that the file's tables are at; none for a file without tables."""
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    present = set(MigrationContext.configure(connection).get_current_heads())
    if not present <= known:
        raise StorageError(
            f"database {path}: a newer version of the monitor wrote it (its tables are at "
            f"{', '.join(sorted(present - known))}); install that version, or name another file in storage.url"
        )
    return present
