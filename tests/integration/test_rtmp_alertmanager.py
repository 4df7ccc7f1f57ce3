"""nginx-rtmp serves, ffmpeg publishes, Alertmanager is told: the main job with the servers that people run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.alertmanager import BINARY, Server
from support.daemon import DaemonFolder, daemon_folder
from support.rtmp import missing_programs, nginx_rtmp, publisher
from support.waiting import wait_for

MISSING = missing_programs() or ("" if BINARY else "not installed: prometheus-alertmanager")
pytestmark = [pytest.mark.skipif(bool(MISSING), reason=MISSING), pytest.mark.timeout(300)]

ROOM = {"id": "room-1", "platform": "demo", "account": "obama-fan-shop", "room": "8841", "title": "Gifts"}


async def firing(alertmanager: Server) -> list[dict[str, Any]]:
    return [alert for alert in await alertmanager.alerts() if alert["labels"]["room"] == "8841"]


async def state_is(folder: DaemonFolder, *states: str) -> bool:
    return (await folder.stream("room-1")).get("state") in states


async def incidents(folder: DaemonFolder) -> list[dict[str, Any]]:
    return list((await folder.get("/api/v1/incidents"))["incidents"])


async def test_a_room_without_permission_is_alerted_survives_its_publisher_and_is_resolved_when_it_is_gone(
    tmp_path: Path, protected_clip_file: Path
) -> None:
    (tmp_path / "nginx").mkdir()
    alertmanager = Server(tmp_path / "alertmanager")
    await alertmanager.start()
    try:
        with nginx_rtmp(tmp_path / "nginx") as rtmp:
            receiver = {"type": "alertmanager", "name": "am", "url": alertmanager.url}
            async with daemon_folder(
                tmp_path / "daemon",
                streams=[ROOM | {"url": rtmp.url("key")}],
                receivers=[receiver],
                incidents={"close_after": 20.0},
                streams_settings={"read_timeout_s": 3.0, "backoff_max_s": 2.0, "ended_probe_s": 1.0},
            ) as folder:
                await folder.start()
                await folder.ready()
                await _story(folder, alertmanager, rtmp.url("key"), protected_clip_file)
                assert await folder.stop() == 0
    finally:
        await alertmanager.stop()


async def _story(folder: DaemonFolder, alertmanager: Server, url: str, clip: Path) -> None:
    with publisher(clip, url):
        await wait_for(lambda: firing(alertmanager), timeout_s=60, what="the alert fires")
        (alert,) = await firing(alertmanager)
        assert alert["labels"]["identity"] == "barack_obama"
        assert alert["labels"]["account"] == "obama-fan-shop"
        (first,) = await incidents(folder)
        assert first["decision"] == "no_permission"
    await wait_for(
        lambda: state_is(folder, "stalled", "backing_off", "connecting", "ended"),
        timeout_s=60,
        what="the stream notices that its publisher was killed",
    )
    with publisher(clip, url):
        await wait_for(lambda: state_is(folder, "live"), timeout_s=60, what="the stream recovers")
        seen = first["last_seen_at"]

        async def seen_again() -> bool:
            (incident,) = await incidents(folder)
            return bool(incident["last_seen_at"] > seen and incident["state"] == "open")

        await wait_for(seen_again, timeout_s=60, what="the same incident goes on")
        assert len(await firing(alertmanager)) == 1

    async def resolved() -> bool:
        return not await firing(alertmanager)

    await wait_for(resolved, timeout_s=90, what="the alert is resolved")
    (last,) = await incidents(folder)
    assert (last["id"], last["state"]) == (first["id"], "closed"), "one incident from beginning to end"
