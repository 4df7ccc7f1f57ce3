"""Runs the real daemon as a process of its own, from configuration files as an operator writes them."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from support.rtmp import free_port
from support.waiting import wait_for

from monitor.demo.rooms import write_gallery


@dataclass(slots=True)
class DaemonFolder:
    """A folder with monitor.yaml, streams.yaml, a gallery and the data of one daemon."""

    root: Path
    port: int
    process: asyncio.subprocess.Process | None = field(default=None)

    @property
    def database(self) -> Path:
        return self.root / "data" / "monitor.db"

    @property
    def log(self) -> str:
        path = self.root / "daemon.log"
        return path.read_text() if path.exists() else ""

    def configure(self, **sections: Any) -> None:
        """Write these sections of monitor.yaml anew."""
        path = self.root / "monitor.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | sections))

    async def start(self) -> None:
        """Start the process; returns at once."""
        with (self.root / "daemon.log").open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "monitor.cli.main",
                "run",
                "--config",
                str(self.root / "monitor.yaml"),
                stdout=output,
                stderr=output,
                cwd=self.root,
            )

    async def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.terminate()
        return await asyncio.wait_for(self.process.wait(), 60)

    async def get(self, path: str) -> Any:
        """JSON of a page, or None while nobody listens."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.port}{path}", timeout=aiohttp.ClientTimeout(total=30)) as answer,
            ):
                return await answer.json()
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def ready(self, timeout_s: float = 90) -> None:
        async def is_ready() -> bool:
            assert self.process is not None
            assert self.process.returncode is None, f"the daemon ended:\n{self.log[-3000:]}"
            answer = await self.get("/readyz")
            return bool(answer and answer["ready"])

        await wait_for(is_ready, timeout_s=timeout_s, what="the daemon is ready")

    async def stream(self, stream_id: str) -> dict[str, Any]:
        """One stream as the API shows it; {} while there is none."""
        answer = await self.get("/api/v1/streams")
        return next((row for row in (answer or {"streams": []})["streams"] if row["id"] == stream_id), {})


@asynccontextmanager
async def daemon_folder(
    root: Path,
    *,
    streams: Sequence[dict[str, Any]],
    receivers: Sequence[dict[str, Any]],
    streams_settings: dict[str, Any] | None = None,
    incidents: dict[str, Any] | None = None,
) -> AsyncIterator[DaemonFolder]:
    """Write the files; the process, if one still runs at the end, is ended."""
    root.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240
    write_gallery(root / "gallery", datetime.now(UTC).date())
    folder = DaemonFolder(root=root, port=free_port())
    settings = {
        "data_dir": str(root / "data"),
        "streams_file": str(root / "streams.yaml"),
        "network": {"allow": ["127.0.0.0/8"]},
        "gallery": {"folder": str(root / "gallery")},
        "streams": streams_settings or {},
        "incidents": incidents or {},
        "alerts": {"receivers": list(receivers)},
        "web": {"port": folder.port},
    }
    files = {"monitor.yaml": settings, "streams.yaml": {"streams": list(streams)}}
    for name, values in files.items():
        (root / name).write_text(yaml.safe_dump(values))
    try:
        yield folder
    finally:
        if folder.process is not None and folder.process.returncode is None:
            await folder.kill()
