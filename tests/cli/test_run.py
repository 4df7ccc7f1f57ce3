"""``monitor run``: what the process asks of the system."""

from __future__ import annotations

import resource
from pathlib import Path

from support.daemon import daemon_folder
from support.waiting import wait_for


async def test_as_many_files_may_be_open_as_the_system_lets_a_user_have(tmp_path: Path) -> None:
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft > 512
    async with daemon_folder(tmp_path, streams=[], receivers=[]) as daemon:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
        try:
            await daemon.start()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert daemon.process is not None
        await wait_for(lambda: "daemon_started" in daemon.log, timeout_s=30, what="the daemon runs")
        assert resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE) == (min(hard, 65_536), hard)
