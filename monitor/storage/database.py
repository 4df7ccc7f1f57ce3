"""The database file: opened once, read by many, written by one at a time."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from monitor.errors import StorageError
from monitor.storage.lock import OwnerLock
from monitor.storage.migrate import check_readable, migrate, unusable
from monitor.storage.sqlite import file_url, prepare_engine

log = logging.getLogger(__name__)

T = TypeVar("T")


class Database:
    """SQLite in WAL mode. What ``write`` returned from is on disk.

    :param url: ``sqlite:///`` and the file's path, as ``StorageConfig`` has checked it.
    """

    def __init__(self, url: str) -> None:
        self.path = Path(make_url(url).database or "")
        self._engine: AsyncEngine | None = None
        self._owner = OwnerLock(self.path)
        self._writer = asyncio.Lock()
        self._writes: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Make the folder and the file where missing, and bring the tables up to date. Nobody else may have it open so.

        :raises StorageError: it cannot be used; says what to do.
        """
        try:
            await asyncio.to_thread(self._prepare_file)
            self._connect()
            await self.writable()
        except StorageError:
            await self.aclose()
            raise

    async def open_read_only(self) -> None:
        """For reading beside whoever has it open: no folder, table or lock is made, and nothing is migrated.

        :raises StorageError: there is no such file, or its tables are not this version's; says what to do.
        """
        await asyncio.to_thread(check_readable, self.path)
        self._connect(read_only=True)

    async def aclose(self) -> None:
        """Let the writes under way end, then close. Later calls raise StorageError; closing twice is harmless."""
        async with self._writer:
            engine, self._engine = self._engine, None
        if engine is not None:
            await engine.dispose()
        self._owner.release()

    async def writable(self) -> None:
        """Return if a transaction can be written now.

        :raises StorageError: it cannot; says what to do.
        """

        async def touch(connection: AsyncConnection) -> None:
            # Writes the file's header with the value that it has: a real write that changes nothing.
            version = (await connection.exec_driver_sql("PRAGMA user_version")).scalar_one()
            await connection.exec_driver_sql(f"PRAGMA user_version = {int(version)}")

        await self.write(touch)

    async def read(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run ``work`` on one consistent state of the database.

        :raises StorageError: the database cannot be read.
        """
        try:
            async with self._opened().connect() as connection:
                return await work(connection)
        except SQLAlchemyError as err:
            raise unusable(self.path, err) from err

    async def write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run ``work`` in one transaction, on disk when this returns. A cancelled caller does not interrupt it.

        :raises StorageError: nothing of it was written.
        """
        task = asyncio.create_task(self._transaction(work))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return await asyncio.shield(task)

    async def _transaction(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async with self._writer:
            try:
                async with self._opened().connect() as plain:
                    connection = await plain.execution_options(begin="BEGIN IMMEDIATE")
                    async with connection.begin():
                        return await work(connection)
            except SQLAlchemyError as err:
                raise unusable(self.path, err) from err

    def _connect(self, *, read_only: bool = False) -> None:
        engine = create_async_engine(
            file_url("sqlite+aiosqlite", self.path, read_only=read_only), pool_size=4, max_overflow=4
        )
        prepare_engine(engine.sync_engine, read_only=read_only)
        self._engine = engine

    def _opened(self) -> AsyncEngine:
        if self._engine is None:
            raise StorageError(f"database {self.path}: it is not open")
        return self._engine

    def _prepare_file(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise StorageError(
                f"database {self.path}: its folder cannot be made ({err.strerror}); make it, with the right to write, "
                "or name another file in storage.url"
            ) from err
        self._owner.acquire()
        self._keep_private()
        migrate(self.path)

    def _keep_private(self) -> None:
        """Make a new file for this user alone: streams' URLs and embeddings stand in it. SQLite gives its mode to the
        files beside it."""
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            mode = stat.S_IMODE(self.path.stat().st_mode)
            if self.path.is_file() and mode & 0o077:
                log.warning(
                    "database_readable_by_others path=%s mode=%o remedy='chmod 600 %s*'", self.path, mode, self.path
                )
        except OSError:
            # What is wrong with the place is said by the attempt to open it as a database.
            return
