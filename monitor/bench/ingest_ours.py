"""Our way of watching, as in the daemon: supervisor, ring, sampler, pool. Only faces are not looked for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from monitor.clock import SystemClock
from monitor.errors import FrameLost
from monitor.faces.config import FacesConfig
from monitor.faces.metrics import FacesMetrics
from monitor.faces.pool import VisionPool
from monitor.streams.config import NetworkConfig, StreamsConfig
from monitor.streams.feed import StreamFeed
from monitor.streams.metrics import StreamMetrics
from monitor.streams.stream import Stream
from monitor.streams.supervisor import StreamSupervisor


class Ours:
    """Watches rooms; each sampled keyframe is sent to a worker process and decoded there."""

    def __init__(self) -> None:
        self._supervisors: list[StreamSupervisor] = []
        self._running: list[asyncio.Task[None]] = []
        self._pool: VisionPool | None = None
        self._sampled = 0
        self._pictures = 0
        self._lost = 0

    async def watch(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Watch ``urls`` as well, sampled every ``interval_s``; ``decode`` says whether samples go to the workers."""
        decode = question["decode"]
        if decode and self._pool is None:
            self._pool = VisionPool(
                FacesConfig(workers=1, cache_dir=Path(question["networks_dir"])), FacesMetrics(CollectorRegistry())
            )
            await self._pool.start()
            await self._pool.ready()
        batch = len(self._supervisors)
        supervisor = StreamSupervisor(
            config=StreamsConfig(sample_interval=question["interval_s"]),
            network=NetworkConfig(allow=("127.0.0.0/8",)),
            clock=SystemClock(),
            metrics=StreamMetrics(CollectorRegistry()),
            consume=self._decode if decode else self._drop,
        )
        streams = [
            Stream(id=f"{batch}-{number}", url=url, platform="bench", account="bench", room=str(number))
            for number, url in enumerate(question["urls"])
        ]
        self._supervisors.append(supervisor)
        self._running.append(asyncio.create_task(supervisor.run(streams)))
        return {}

    def snapshot(self) -> dict[str, Any]:
        """``live`` counts rooms of which a keyframe was sampled; ``ring`` is in bytes, over all rooms."""
        feeds = [feed for supervisor in self._supervisors for feed in supervisor.feeds.values()]
        return {
            "live": sum(feed.last_sampled_at is not None for feed in feeds),
            "ring": sum(feed.ring.size for feed in feeds),
            "sampled": self._sampled,
            "pictures": self._pictures,
            "lost": self._lost,
        }

    async def _decode(self, feed: StreamFeed) -> None:
        assert self._pool is not None, "started before any room"
        while True:
            frame = await feed.next_frame()
            self._sampled += 1
            try:
                decoded = await self._pool.decode(frame)
            except FrameLost:
                self._lost += 1
                continue
            # Not in one line with the await: what other rooms count meanwhile would be forgotten.
            self._pictures += decoded

    async def _drop(self, feed: StreamFeed) -> None:
        while True:
            await feed.next_frame()
            self._sampled += 1
