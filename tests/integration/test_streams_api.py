"""The list of rooms is changed over the API and by the command, and is there again after a kill."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.daemon import DaemonFolder, daemon_folder
from support.hls import HttpServer, LiveHls, http_server
from support.video import ts_segments
from support.waiting import wait_for

pytestmark = pytest.mark.timeout(240)

TOKEN = "a-token-of-24-characters"
ROOM = {"platform": "own", "account": "shop", "room": "1"}


async def monitor(folder: DaemonFolder, *argv: str, typed: str = "", token: str = TOKEN) -> tuple[int, str, str]:
    """``monitor streams`` as a process: exit code, output, errors."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "monitor.cli.main", "streams", *argv, "--url", f"http://127.0.0.1:{folder.port}"),
        env=os.environ | {"MONITOR_TOKEN": token, "COLUMNS": "160"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(typed.encode())
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def is_live(folder: DaemonFolder, stream_id: str) -> bool:
    return (await folder.stream(stream_id)).get("state") == "live"


async def test_rooms_are_added_watched_and_removed_by_the_command_and_survive_a_kill(tmp_path: Path) -> None:
    provisioned = ROOM | {"id": "filed", "url": "http://127.0.0.1:9/none.m3u8"}
    async with (
        http_server() as server,
        daemon_folder(tmp_path / "daemon", streams=[provisioned], receivers=[{"type": "log", "name": "log"}]) as folder,
    ):
        folder.configure(web={"port": folder.port, "token": TOKEN})
        await folder.start()
        await folder.ready()
        live = LiveHls(server, ts_segments(seconds=180, gop=5), name="live")
        await _add(folder, server, live)
        await folder.kill()
        await folder.start()
        await folder.ready()
        await wait_for(lambda: is_live(folder, "api-1"), timeout_s=30, what="the added room is watched again")
        assert folder.database.stat().st_mode & 0o077 == 0, "the URLs in it are the owner's alone"
        await _look_and_remove(folder)
        assert "s3cret" not in folder.log
        assert TOKEN not in folder.log


async def _add(folder: DaemonFolder, server: HttpServer, live: LiveHls) -> None:
    fields = ("--platform", "own", "--account", "shop", "--room", "1", "--tag", "vip")
    asked = sum(server.requests.values())
    code, out, err = await monitor(folder, "add", "api-1", "-", *fields, typed=f"{live.url}?key=s3cret\n")
    began = time.monotonic()
    assert (code, out, err) == (0, "api-1: watched\n", "")
    await wait_for(lambda: sum(server.requests.values()) > asked, timeout_s=30, what="the room is connected")
    # How soon the daemon itself begins is tested beside its roster.
    assert time.monotonic() - began < 5
    await wait_for(lambda: is_live(folder, "api-1"), timeout_s=30, what="the room is live")
    refused = await monitor(folder, "add", "filed", "https://example.com/x.m3u8", *fields)
    assert (refused[0], refused[1]) == (2, "")
    assert "'filed' stands in the streams file" in refused[2]
    code, _, err = await monitor(folder, "add", "api-2", "http://192.168.1.1/x.m3u8", *fields)
    assert code == 2
    assert "network.allow" in err
    code, _, err = await monitor(folder, "remove", "api-1", token="wrong-token-of-24-chars")
    assert code == 2
    assert "web.token" in err


async def _look_and_remove(folder: DaemonFolder) -> None:
    code, out, _ = await monitor(folder, "list")
    assert code == 0
    assert "api-1" in out
    assert "2 rooms, 1 live" in out
    assert "s3cret" not in out
    code, out, _ = await monitor(folder, "watch", "--json", "--count", "2", "--every", "0.1")
    looks: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    assert [[row["id"] for row in look["streams"]] for look in looks] == [["api-1", "filed"]] * 2
    code, out, _ = await monitor(folder, "watch", "--count", "1")
    assert code == 0
    assert "api-1" in out
    assert await monitor(folder, "remove", "api-1") == (0, "api-1: removed\n", "")
    assert await folder.stream("api-1") == {}
    code, _, err = await monitor(folder, "remove", "api-1")
    assert code == 2
    assert "there is no stream 'api-1'" in err
