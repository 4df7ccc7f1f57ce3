"""``monitor run``: what the process asks of the system, and the signals it answers."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import yaml
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
        await wait_for(lambda: "daemon_started" in daemon.log, timeout_s=120, what="the daemon runs")
        assert resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE) == (min(hard, 65_536), hard)


async def test_sighup_reads_the_streams_file_again_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    def room(stream_id: str) -> dict[str, str]:
        names = {"platform": "demo", "account": "a", "room": stream_id}
        return {"id": stream_id, "url": f"http://127.0.0.1:9/{stream_id}.m3u8", **names}

    async with daemon_folder(tmp_path, streams=[room("one"), room("two")], receivers=[]) as daemon:
        await daemon.start()
        assert daemon.process is not None
        await wait_for(lambda: "daemon_started" in daemon.log, timeout_s=120, what="the daemon runs")

        async def hang_up(text: str, said: str) -> set[str]:
            (tmp_path / "streams.yaml").write_text(text)
            daemon.process.send_signal(signal.SIGHUP)
            await wait_for(lambda: said in daemon.log, timeout_s=60, what=said)
            return {row["id"] for row in (await daemon.get("/api/v1/streams"))["streams"]}

        after = await hang_up(yaml.safe_dump({"streams": [room("two"), room("three")]}), "streams_file_read")
        assert after == {"two", "three"}
        assert "added=1 changed=0 removed=1 unchanged=1" in daemon.log
        assert await hang_up("streams: [{id: four}]", "streams_file_refused") == {"two", "three"}
        assert await daemon.stop() == 0
