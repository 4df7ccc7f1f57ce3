"""The demo: four live HLS rooms on loopback, the real daemon watching them, and what it makes of each."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from monitor.alerts.config import AlertsConfig
from monitor.config import MonitorConfig
from monitor.daemon import Daemon, running_daemon
from monitor.demo.inbox import Delivery, Inbox
from monitor.demo.live_hls import LiveRooms
from monitor.demo.rooms import ROOMS, DemoRoom, Progress, RoomVerdict, make_clips, write_gallery
from monitor.faces.config import FacesConfig
from monitor.pipeline import Look
from monitor.streams.stream import StreamStatus

_ON_AIR_FOR_S = 9.0
"""The rooms are live already when the monitor begins to watch: their playlists are full."""
_SETTLED_SAMPLES = 6
"""A room that must bring nothing was watched over its whole clip, 12 s, after so many sampled frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomRow:
    """One room at one moment, as the table shows it."""

    room: DemoRoom
    status: StreamStatus | None
    look: Look | None
    verdict: RoomVerdict | None
    """None while the monitor has not seen enough."""
    similarity: float | None
    """Highest similarity to the protected person so far."""
    seconds_to_alert: float | None
    """From the moment the daemon began to watch to the alert in the receiver's hands."""

    def to_dict(self) -> dict[str, Any]:
        """The line that ``--json`` prints."""
        return {
            "room": self.room.name,
            "verdict": self.verdict,
            "expected": self.room.expected,
            "similarity": None if self.similarity is None else round(self.similarity, 4),
            "seconds_to_alert": None if self.seconds_to_alert is None else round(self.seconds_to_alert, 2),
        }


class DemoSession:
    """What runs, for those who show it."""

    def __init__(self, daemon: Daemon, inbox: Inbox) -> None:
        self.url = daemon.url
        self._daemon = daemon
        self._inbox = inbox
        self._began = time.monotonic()
        self._best: dict[str, float] = {}

    @property
    def alerts(self) -> Sequence[Delivery]:
        """Every alert so far, oldest first."""
        return self._inbox.deliveries

    def rows(self) -> list[RoomRow]:
        """Every room now. Call it about once a second: it also keeps the highest similarity."""
        statuses, looks = self._daemon.statuses(), self._daemon.looks
        return [self._row(room, statuses.get(room.name), looks.get(room.name)) for room in ROOMS]

    async def decided(self, timeout_s: float) -> list[RoomRow]:
        """The rows once every room has its verdict, or after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while any(row.verdict is None for row in self.rows()) and time.monotonic() < deadline:
            await self._inbox.changed(0.2)
        return self.rows()

    def _row(self, room: DemoRoom, status: StreamStatus | None, look: Look | None) -> RoomRow:
        if look is not None and look.similarity is not None:
            self._best[room.name] = max(look.similarity, self._best.get(room.name, -1.0))
        alert = self._inbox.opened(room.name)
        return RoomRow(
            room=room,
            status=status,
            look=look,
            verdict=self._verdict(room, status, alert),
            similarity=self._best.get(room.name),
            seconds_to_alert=alert.at - self._began if alert else None,
        )

    def _verdict(self, room: DemoRoom, status: StreamStatus | None, alert: Delivery | None) -> RoomVerdict | None:
        if alert is not None:
            return RoomVerdict.VIOLATION
        incidents = [one for one in self._daemon.book.open_incidents() if one.key.room == room.name]
        if any(not incident.decision.is_violation for incident in incidents):
            return RoomVerdict.PERMITTED
        if not incidents and status is not None and status.frames_sampled >= _SETTLED_SAMPLES:
            return RoomVerdict.NOTHING
        return None


@asynccontextmanager
async def running_demo(
    folder: Path, *, cache_dir: Path, progress: Progress | None = None
) -> AsyncGenerator[DemoSession, None]:
    """Make the clips, publish the rooms and start the daemon.

    :param folder: for the gallery, the database and the evidence of this run.
    :param cache_dir: for clips and prepared networks, kept for later runs.
    :raises MonitorError: a clip cannot be made, or the daemon cannot start.
    """
    networks = cache_dir / "networks"
    clips = await make_clips(ROOMS, cache_dir=cache_dir / "clips", networks_dir=networks, progress=progress)
    await asyncio.to_thread(write_gallery, folder / "gallery", datetime.now(UTC).date())
    async with Inbox() as inbox, LiveRooms() as live:
        urls = [await live.add(room.name, clips[room.name], on_air_for_s=_ON_AIR_FOR_S) for room in ROOMS]
        streams = [room.stream(url) for room, url in zip(ROOMS, urls, strict=True)]
        async with running_daemon(demo_config(folder, networks, inbox, port=_port()), streams) as daemon:
            yield DemoSession(daemon, inbox)


def demo_config(folder: Path, networks_dir: Path, inbox: Inbox, *, port: int) -> MonitorConfig:
    """The defaults, with everything in ``folder`` and loopback allowed."""
    return MonitorConfig.model_validate(
        {
            "data_dir": folder,
            "network": {"allow": ["127.0.0.0/8"]},
            "gallery": {
                "folder": folder / "gallery",
                "calibration_file": folder / "calibration.json",
                "traffic_file": folder / "stranger_traffic.json",
            },
            "evidence": {"folder": folder / "evidence"},
            "storage": {"url": f"sqlite:///{folder / 'monitor.db'}"},
            "faces": FacesConfig(cache_dir=networks_dir),
            "alerts": AlertsConfig(receivers=(inbox.config,)),
            "web": {"port": port},
        }
    )


def _port() -> int:
    """The usual port, or any free one where something else has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 8080))
        except OSError:
            return 0
    return 8080
