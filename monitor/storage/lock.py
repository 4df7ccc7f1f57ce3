"""One process at a time owns the database: what a daemon delivers, a second one must not deliver as well."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from monitor.errors import StorageError


class OwnerLock:
    """An exclusive lock on ``<database>.lock``. The kernel ends it with the process, however that ends.

    The file is never deleted: a process that waits to lock a deleted one would lock nothing.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock, or fail at once.

        :raises StorageError: another process has it, or its file cannot be made; says what to do.
        """
        # Two names of one file (a link to it) have one lock.
        path = Path(f"{self._database.resolve()}.lock")
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            self.release()
            raise StorageError(
                f"database {self._database}: a running monitor has it, and keeps the gallery up to date by itself; "
                f"stop that monitor first, or name another file in storage.url (locked: {path})"
            ) from err
        except OSError as err:
            self.release()
            raise StorageError(
                f"database {self._database}: it cannot be opened; give this user the right to read and write the file "
                f"and its folder, on a local disk ({path}: {err.strerror})"
            ) from err

    def release(self) -> None:
        """Let others have it; harmless when it is not held."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)
