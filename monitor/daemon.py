"""The composition root: builds every part, owns every task, closes in reverse order."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version

import aiohttp
from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, CollectorRegistry, Histogram, ProcessCollector

from monitor.alerts.dispatcher import Dispatcher
from monitor.alerts.metrics import AlertsMetrics
from monitor.alerts.receivers.build import build_receivers
from monitor.clock import Clock, SystemClock
from monitor.config import MonitorConfig
from monitor.evidence.metrics import EvidenceMetrics
from monitor.evidence.recorder import EvidenceRecorder
from monitor.faces.metrics import FacesMetrics
from monitor.faces.pool import VisionPool
from monitor.gallery.gallery import Gallery
from monitor.gallery.metrics import GalleryMetrics
from monitor.incidents.book import IncidentBook
from monitor.incidents.metrics import IncidentsMetrics
from monitor.pipeline import Look, StreamPaths
from monitor.sightings.metrics import SightingsMetrics
from monitor.storage.database import Database
from monitor.storage.incidents import SqlIncidentStore
from monitor.storage.outbox import SqlOutbox
from monitor.storage.reader import SqlIncidentReader
from monitor.storage.references import SqlReferenceStore
from monitor.storage.streams import SqlStreamStore
from monitor.streams.guard import AddressGuard
from monitor.streams.kinds import installed_kinds
from monitor.streams.metrics import StreamMetrics
from monitor.streams.publishing import PublishDesk
from monitor.streams.roster import Roster
from monitor.streams.stream import Stream, StreamStatus
from monitor.streams.supervisor import StreamSupervisor
from monitor.web.app import build_app
from monitor.web.hooks import HookDoor
from monitor.web.readiness import Probe, Watch
from monitor.web.server import WebServer
from monitor.web.site import Site

log = logging.getLogger(__name__)

_TICK_S = 1.0
_DELAY_PROBE_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """The parts of a running daemon, for those who look on."""

    url: str
    """Where the pages are, without a slash at the end."""
    book: IncidentBook
    _supervisor: StreamSupervisor
    _paths: StreamPaths

    def statuses(self) -> Mapping[str, StreamStatus]:
        """Stream id to its status."""
        return self._supervisor.statuses()

    @property
    def looks(self) -> Mapping[str, Look]:
        """Stream id to what was last seen there."""
        return self._paths.looks


@asynccontextmanager
async def running_daemon(
    config: MonitorConfig, streams: Sequence[Stream], clock: Clock | None = None
) -> AsyncIterator[Daemon]:
    """Start everything, and stop it in reverse order.

    :raises MonitorError: a part cannot start; nothing is left running then.
    """
    clock = clock or SystemClock()
    await asyncio.to_thread(installed_kinds)
    registry = CollectorRegistry()
    for collector in (PLATFORM_COLLECTOR, GC_COLLECTOR, ProcessCollector(registry=None)):
        registry.register(collector)
    async with AsyncExitStack() as stack:
        server = WebServer(config.web)
        stack.push_async_callback(server.aclose)
        server.bind()
        database = Database(config.storage.url)
        stack.push_async_callback(database.aclose)
        await database.open()
        pool = VisionPool(config.faces, FacesMetrics(registry))
        stack.push_async_callback(pool.aclose)
        gallery = Gallery(
            config.gallery.folder, pool, SqlReferenceStore(database), config.gallery, clock, GalleryMetrics(registry)
        )
        session = await stack.enter_async_context(aiohttp.ClientSession())
        receivers = build_receivers(config.alerts, session)
        dispatcher = Dispatcher(SqlOutbox(database), receivers, clock, AlertsMetrics(registry))
        store = SqlIncidentStore(
            database,
            receivers=[receiver.name for receiver in receivers],
            web_base_url=server.url,
            runbook_url=config.alerts.runbook_url,
            wake=dispatcher.nudge,
        )
        book = IncidentBook(store, config.incidents, clock, IncidentsMetrics(registry))
        recorder = EvidenceRecorder(
            config.evidence.folder, pool, clock, EvidenceMetrics(registry), version("likeness-monitor")
        )
        paths = StreamPaths(
            faces=pool,
            gallery=lambda: gallery.snapshot,
            incidents=book,
            evidence=recorder,
            config=config.sightings,
            metrics=SightingsMetrics(registry),
            clock=clock,
        )
        supervisor = StreamSupervisor(
            config=config.streams,
            network=config.network,
            clock=clock,
            metrics=StreamMetrics(registry),
            consume=paths.run,
        )

        roster = Roster(streams, SqlStreamStore(database), supervisor, AddressGuard(config.network).check)
        desk = PublishDesk(config.hooks, roster, supervisor.states, clock)

        def watch() -> Watch:
            identities = {reference.identity_id for reference in gallery.snapshot.references}
            return Watch(
                streams=len(roster), hooks=len(config.hooks), identities=len(identities), receivers=len(receivers)
            )

        await roster.restore()
        await server.serve(
            build_app(
                Site(
                    config=config.web,
                    roster=roster,
                    statuses=supervisor,
                    incidents=SqlIncidentReader(database),
                    probes=[
                        Probe(name="pack", check=pool.ready),
                        Probe(name="gallery", check=gallery.ready),
                        Probe(name="database", check=database.writable),
                    ],
                    watch=watch,
                    registry=registry,
                    evidence_folder=config.evidence.folder,
                    clock=clock,
                ),
                HookDoor(config.hooks, desk.take, clock, registry),
            )
        )
        await pool.start()
        await gallery.sync()
        await book.restore()
        await recorder.clear()
        for gap in watch().gaps:
            log.warning("nothing_to_watch %s", gap)
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(gallery.watch()),
                tasks.create_task(dispatcher.run()),
                tasks.create_task(_tick(book)),
                tasks.create_task(_measure_delay(registry)),
                tasks.create_task(supervisor.run()),
                tasks.create_task(desk.run()),
            ]
            log.info("daemon_started streams=%d url=%s", len(roster), server.url)
            try:
                yield Daemon(url=server.url, book=book, _supervisor=supervisor, _paths=paths)
            finally:
                for task in background:
                    task.cancel()
    log.info("daemon_stopped")


async def run_until_signal(config: MonitorConfig, streams: Sequence[Stream]) -> None:
    """Run the daemon until SIGTERM or SIGINT; either also ends a start that takes long."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        async with running_daemon(config, streams):
            await asyncio.Event().wait()


async def _tick(book: IncidentBook) -> None:
    while True:
        await asyncio.sleep(_TICK_S)
        await book.tick()


async def _measure_delay(registry: CollectorRegistry) -> None:
    """Measure how late the loop wakes a sleeper: whatever blocks it shows here."""
    delay = Histogram(
        "monitor_event_loop_delay_seconds",
        "How late the event loop woke a sleeping task.",
        buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
        registry=registry,
    )
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _DELAY_PROBE_S
        await asyncio.sleep(_DELAY_PROBE_S)
        delay.observe(max(0.0, loop.time() - due))
