"""Run by the kill test: opens, changes and closes incidents as fast as it can, and prints each one that is on disk."""

from __future__ import annotations

import asyncio
import random
import sys
from datetime import timedelta

from prometheus_client import CollectorRegistry
from support.violations import PACK, make_identity, make_permission, make_sighting, make_stream

from monitor.clock import ManualClock, SystemClock
from monitor.incidents.book import IncidentBook
from monitor.incidents.config import IncidentsConfig
from monitor.incidents.metrics import IncidentsMetrics
from monitor.storage.database import Database
from monitor.storage.incidents import SqlIncidentStore


async def main(url: str) -> None:
    database = Database(url)
    await database.open()
    clock = ManualClock(now=SystemClock().utc())
    store = SqlIncidentStore(database, receivers=["hook", "am"], web_base_url="http://x")
    book = IncidentBook(store, IncidentsConfig(), clock, IncidentsMetrics(CollectorRegistry()))
    await book.restore()
    suspended = make_identity(make_permission("obama-clone", suspended=True))

    async def watch(room: str) -> None:
        identity = random.choice((make_identity(), suspended))
        incident = await book.observe(make_stream(room), identity, make_sighting(), PACK)
        print(f"{incident.id} {incident.sequence}", flush=True)

    print("ready", flush=True)
    while True:
        await asyncio.gather(*(watch(f"room-{random.randrange(6)}") for _ in range(4)))
        clock.elapsed_s += 41.0
        clock.now += timedelta(seconds=41)
        await book.tick()


asyncio.run(main(sys.argv[1]))
