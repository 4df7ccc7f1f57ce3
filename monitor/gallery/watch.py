"""Tells when the gallery's folder may have changed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncGenerator
from pathlib import Path

from watchfiles import Change, awatch

from monitor.clock import Clock
from monitor.gallery.folder import is_unfinished

log = logging.getLogger(__name__)

_QUIET_MS = 200
"""A change is told once nothing more happened for so long."""
_PATIENCE_MS = 1000
"""A change is told after this at the latest, however much goes on."""
_LOOK_MS = 400
"""How often it is looked at whether the folder is there, and still the same one; a multiple of ``_QUIET_MS``."""


async def folder_changes(folder: Path, *, rescan_s: float, clock: Clock) -> AsyncGenerator[None, None]:
    """Yield at the start, after every change below ``folder``, and every ``rescan_s`` seconds at the least.

    A folder that is missing, or that is replaced by another of its name, is watched again once it is there. Where the
    system refuses to watch, only the looks every ``rescan_s`` remain.
    """
    said, missed_at = "", -math.inf
    while True:
        home = await asyncio.to_thread(_device_and_inode, folder)
        if home is None:
            if clock.monotonic() - missed_at >= rescan_s:
                missed_at = clock.monotonic()
                yield
            await asyncio.sleep(_LOOK_MS / 1000)
            continue
        missed_at = -math.inf
        try:
            async with contextlib.aclosing(_watched(folder, home, rescan_s, clock)) as moments:
                async for _ in moments:
                    yield
        except (OSError, RuntimeError, ExceptionGroup) as err:
            # Out of inotify watches, most often; watchfiles raises its own RuntimeError, in a group while waiting.
            if str(err) != said:
                said = str(err)
                log.warning("gallery_not_watched detail=%r consequence=looked_at_every_%gs", said, rescan_s)
            yield
            await asyncio.sleep(rescan_s)


async def _watched(folder: Path, home: tuple[int, int], rescan_s: float, clock: Clock) -> AsyncGenerator[None, None]:
    """As ``folder_changes``, until ``folder`` is no longer ``home``."""
    changes = awatch(
        folder,
        watch_filter=_matters,
        step=_QUIET_MS,
        debounce=_PATIENCE_MS,
        rust_timeout=_LOOK_MS,
        yield_on_timeout=True,
        ignore_permission_denied=True,
    )
    # None until the first look, which comes after watching began: nothing can change in between unseen.
    looked_at: float | None = None
    async with contextlib.aclosing(changes):
        async for found in changes:
            if found or looked_at is None or clock.monotonic() - looked_at >= rescan_s:
                looked_at = clock.monotonic()
                yield
            if await asyncio.to_thread(_device_and_inode, folder) != home:
                log.warning("gallery_folder_replaced folder=%s", folder)
                return


def _device_and_inode(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _matters(_change: Change, path: str) -> bool:
    # A mounted volume is switched to new content by renaming a link whose name begins with two points.
    name = Path(path).name
    return name.startswith("..") or not is_unfinished(name)
