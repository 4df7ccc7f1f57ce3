"""A real Alertmanager."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import aiohttp
from support.waiting import wait_for

BINARY = shutil.which("prometheus-alertmanager")


class Server:
    """An Alertmanager of its own port, which can be stopped and started with an empty memory."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._folder.mkdir(exist_ok=True)
        config = self._folder / "alertmanager.yml"
        config.write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
        assert BINARY is not None
        self._process = await asyncio.create_subprocess_exec(
            BINARY,
            f"--config.file={config}",
            f"--storage.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
            "--log.level=error",
            env=os.environ | {"GOMAXPROCS": "1"},
        )
        await wait_for(self.is_ready, timeout_s=20, what="Alertmanager is ready")

    async def is_ready(self) -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self.url}/-/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None

    async def alerts(self, *, active: bool = True) -> list[dict[str, Any]]:
        """Active alerts, or those that are over too."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/api/v2/alerts", params={"active": str(active).lower()}) as answer,
        ):
            return list(await answer.json())

    async def firing(self, count: int) -> list[dict[str, Any]]:
        async def right() -> bool:
            return len(await self.alerts()) == count

        await wait_for(right, timeout_s=30, what=f"{count} alerts fire")
        return await self.alerts()
