"""How every connection to the SQLite file is set up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, event

_READING = ("PRAGMA busy_timeout = 5000",)
_WRITING = (
    *_READING,
    "PRAGMA journal_mode = WAL",
    # FULL: a commit that returned survives a power cut, not only a killed process.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
)


def file_url(driver: str, path: Path, *, read_only: bool = False) -> URL:
    """The address of the file for SQLAlchemy, over ``driver``: ``sqlite`` or ``sqlite+aiosqlite``."""
    if read_only:
        return URL.create(driver, database=path.resolve().as_uri(), query={"mode": "ro", "uri": "true"})
    return URL.create(driver, database=str(path))


def prepare_engine(engine: Engine, *, read_only: bool = False) -> None:
    """Set the pragmas on each new connection and let SQLAlchemy alone begin transactions.

    A connection's execution option ``begin`` holds the statement that begins one, ``BEGIN`` if it is missing.
    """

    @event.listens_for(engine, "connect")
    def set_up(dbapi_connection: Any, _record: object) -> None:
        # Otherwise the driver begins transactions on its own, too late for DDL and for reads.
        dbapi_connection.isolation_level = None
        cursor = dbapi_connection.cursor()
        for pragma in _READING if read_only else _WRITING:
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))
