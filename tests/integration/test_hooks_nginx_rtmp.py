"""A real nginx-rtmp tells the daemon what goes on and off the air."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from support.collecting import on_air
from support.daemon import DaemonFolder, daemon_folder
from support.rtmp import missing_programs, nginx_rtmp, publisher
from support.video import write_clip
from support.waiting import wait_for

MISSING = missing_programs()
pytestmark = [pytest.mark.skipif(bool(MISSING), reason=MISSING), pytest.mark.timeout(240)]

SECRET = "nginx-rtmp-hook-secret"
GOP_S = 1.0


def hook(rtmp_port: int) -> dict[str, Any]:
    return {
        "type": "nginx-rtmp",
        "name": "origin",
        "secret": SECRET,
        "url": f"rtmp://127.0.0.1:{rtmp_port}/{{app}}/{{name}}",
        "platform": "own",
        "account": "{name}",
        "room": "{app}/{name}",
    }


async def rooms(folder: DaemonFolder) -> list[dict[str, Any]]:
    return list((await folder.get("/api/v1/streams"))["streams"])


async def test_a_room_appears_when_it_is_published_is_scanned_at_once_survives_a_restart_and_ends_with_its_publisher(
    tmp_path: Path,
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", seconds=10, gop=10)
    (tmp_path / "nginx").mkdir()
    async with daemon_folder(tmp_path / "daemon", streams=[], receivers=[{"type": "log", "name": "log"}]) as folder:
        address = f"http://127.0.0.1:{folder.port}/hooks/nginx-rtmp?secret={SECRET}"
        calls = f"on_publish {address}; on_publish_done {address};"
        with nginx_rtmp(tmp_path / "nginx", calls) as rtmp:
            folder.configure(hooks=[hook(rtmp.port)])
            await folder.start()
            await folder.ready()
            assert await rooms(folder) == []
            with publisher(clip, rtmp.url("shop-88?key=publishers-own")):
                await on_air(rtmp.url("shop-88"))
                began = time.monotonic()
                await _is_scanned(folder, within_s=30)
                took = time.monotonic() - began
                (room,) = await rooms(folder)
                assert (room["platform"], room["account"], room["room"]) == ("own", "shop-88", "live/shop-88")
                assert (room["origin"], room["hook"], room["provisioned"]) == ("hook", "origin", False)
                await folder.kill()
                await folder.start()
                await folder.ready()
                await _is_scanned(folder, within_s=30)
            await wait_for(lambda: _none(folder), timeout_s=30, what="the room is gone with its publisher")
            assert took < 2.0 + GOP_S + 1.0
            assert "publishers-own" not in folder.log
            assert SECRET not in folder.log


async def _is_scanned(folder: DaemonFolder, within_s: float) -> None:
    async def scanned() -> bool:
        found = await rooms(folder)
        return bool(found and found[0]["state"] == "live" and found[0]["frames_sampled"])

    await wait_for(scanned, timeout_s=within_s, what="the published room is scanned")


async def _none(folder: DaemonFolder) -> bool:
    return await rooms(folder) == []
