from __future__ import annotations

import contextlib
from pathlib import Path

from support.waiting import in_own_time

from monitor.clock import SystemClock
from monitor.gallery.watch import folder_changes


async def test_what_changes_just_after_a_folder_was_made_is_told_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "gallery"
    changes = folder_changes(folder, rescan_s=60, clock=SystemClock())
    async with contextlib.aclosing(changes):
        await anext(changes)
        # The folder appears while what was told, that it is missing, is being acted upon.
        (folder / "ann").mkdir(parents=True)
        await in_own_time(anext(changes), 1.5)
        (folder / "eve").mkdir()
        await in_own_time(anext(changes), 1.5)
