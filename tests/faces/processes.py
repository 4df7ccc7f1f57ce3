"""The processes that face analysis runs in, as the system knows them."""

from __future__ import annotations

import contextlib

import psutil


def children(module: str) -> list[psutil.Process]:
    """Living children of this process that run ``python -m MODULE``."""
    return [child for child in psutil.Process().children() if lives(child) and _runs(child, module)]


def lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _runs(process: psutil.Process, module: str) -> bool:
    # One that a test has killed may end at any moment.
    with contextlib.suppress(psutil.NoSuchProcess):
        return module in process.cmdline()
    return False
