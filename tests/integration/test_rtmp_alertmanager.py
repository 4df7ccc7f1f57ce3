"""nginx-rtmp serves, ffmpeg publishes, Alertmanager is told: the main job with the servers that people run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest
from support.alertmanager import alertmanager
from support.daemon import DaemonFolder, daemon_folder
from support.rtmp import ffmpeg_publisher, nginx_rtmp
from support.waiting import wait_for

from monitor.demo.rooms import make_clips


async def alerts_of(base: str, room: str) -> list[dict[str, Any]]:
    """Active alerts of one room, from Alertmanager's own API."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{base}/api/v2/alerts", params={"active": "true"}) as answer,
    ):
        return [alert for alert in await answer.json() if alert["labels"]["room"] == room]
