"""The composition root: builds every part, owns every task, closes in reverse order."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, CollectorRegistry, Histogram, ProcessCollector

from monitor.alerts.dispatcher import Dispatcher
from monitor.alerts.metrics import AlertsMetrics
from monitor.alerts.receivers.build import build_receivers
from monitor.clock import Clock, SystemClock
from monitor.config import MonitorConfig
from monitor.errors import MonitorError, StreamReason
from monitor.evidence.metrics import EvidenceMetrics
from monitor.evidence.recorder import EvidenceRecorder
from monitor.faces.metrics import FacesMetrics
from monitor.faces.pool import VisionPool
from monitor.gallery.calibration_file import calibration_of
from monitor.gallery.gallery import Gallery
from monitor.gallery.metrics import GalleryMetrics
from monitor.gallery.stranger_traffic import StrangerTraffic
from monitor.incidents.book import IncidentBook
from monitor.incidents.metrics import IncidentsMetrics
from monitor.pipeline import Look, StreamPaths
from monitor.sightings.evidence_limit import sized_test
from monitor.sightings.expectation import spread_over
from monitor.sightings.metrics import SightingsMetrics
from monitor.sightings.sequential_test import SequentialTest
from monitor.storage.database import Database
from monitor.storage.incidents import SqlIncidentStore
from monitor.storage.outbox import SqlOutbox
from monitor.storage.reader import SqlIncidentReader
from monitor.storage.references import SqlReferenceStore
from monitor.storage.streams import SqlStreamStore
from monitor.streams.catalogue import load_streams
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
_SPARE_FROM = 5_000
"""References; with all that is known of their photos so many cost a full collection some 25 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """The parts of a running daemon, for those who look on."""

    url: str
    """Where the pages are, without a slash at the end."""
    book: IncidentBook
    _roster: Roster
    _supervisor: StreamSupervisor
    _paths: StreamPaths

    async def reload_streams(self, path: Path) -> None:
        """Read the streams file anew and watch what it says now; a file that is refused changes nothing."""
        try:
            changes = await self._roster.provision(await asyncio.to_thread(load_streams, path))
        except MonitorError as err:
            log.error("streams_file_refused file=%s: %s; nothing was changed", path, err)
            return
        counts = (len(changes.added), len(changes.changed), len(changes.removed), len(changes.unchanged))
        log.info("streams_file_read file=%s added=%d changed=%d removed=%d unchanged=%d", path, *counts)

    def statuses(self) -> Mapping[str, StreamStatus]:
        """Stream id to its status."""
        return self._supervisor.statuses()

    @property
    def looks(self) -> Mapping[str, Look]:
        """Stream id to what was last seen there."""
        return self._paths.looks


class _Parts:
    """Every part of one daemon, built in the order in which they need each other; nothing runs yet."""

    def __init__(
        self,
        config: MonitorConfig,
        streams: Sequence[Stream],
        clock: Clock,
        *,
        database: Database,
        session: aiohttp.ClientSession,
        url: str,
    ) -> None:
        self.config = config
        self.clock = clock
        self.database = database
        self.registry = registry = _registry()
        self._test: SequentialTest | None = None
        self._strangers: StrangerTraffic | None = None
        self.pool = VisionPool(config.faces, FacesMetrics(registry))
        references = SqlReferenceStore(database)
        self.gallery = Gallery(
            config.gallery.folder, self.pool, references, config.gallery, clock, GalleryMetrics(registry)
        )
        self.receivers = build_receivers(config.alerts, session)
        self.dispatcher = Dispatcher(SqlOutbox(database), self.receivers, clock, AlertsMetrics(registry))
        self.book = IncidentBook(self._incident_store(url), config.incidents, clock, IncidentsMetrics(registry))
        self.recorder = EvidenceRecorder(
            config.evidence.folder, self.pool, clock, EvidenceMetrics(registry), version("likeness-monitor")
        )
        self.paths = self._paths()
        self.supervisor = StreamSupervisor(
            config=config.streams,
            network=config.network,
            clock=clock,
            metrics=StreamMetrics(registry),
            consume=self.paths.run,
        )
        guard = AddressGuard(config.network)
        self.roster = Roster(streams, SqlStreamStore(database), self.supervisor, guard.check)
        self.desk = PublishDesk(config.hooks, self.roster, self.supervisor.states, clock)

    def _incident_store(self, url: str) -> SqlIncidentStore:
        return SqlIncidentStore(
            self.database,
            receivers=[receiver.name for receiver in self.receivers],
            web_base_url=url,
            runbook_url=self.config.alerts.runbook_url,
            wake=self.dispatcher.nudge,
        )

    def _paths(self) -> StreamPaths:
        metrics = SightingsMetrics(self.registry)
        metrics.false_alerts_expected.set_function(self._false_alerts_expected)
        return StreamPaths(
            faces=self.pool,
            gallery=lambda: self.gallery.snapshot,
            incidents=self.book,
            evidence=self.recorder,
            config=self.config.sightings,
            test=self.evidence_test,
            strangers=self.strangers,
            metrics=metrics,
            clock=self.clock,
        )

    def app(self) -> web.Application:
        """The pages, the API and the hooks."""
        probes = {"pack": self.pool.ready, "gallery": self.gallery.ready, "database": self.database.writable}
        site = Site(
            config=self.config.web,
            roster=self.roster,
            statuses=self.supervisor,
            incidents=SqlIncidentReader(self.database),
            probes=[Probe(name=name, check=check) for name, check in probes.items()],
            watch=self.watch,
            registry=self.registry,
            evidence_folder=self.config.evidence.folder,
            clock=self.clock,
        )
        return build_app(site, HookDoor(self.config.hooks, self.desk.take, self.clock, self.registry))

    def watch(self) -> Watch:
        """What is watched for whom at this moment."""
        statuses = self.supervisor.statuses().values()
        return Watch(
            streams=len(self.roster),
            refused=sum(status.reason is StreamReason.ADDRESS_REFUSED for status in statuses),
            hooks=len(self.config.hooks),
            identities=len(self.gallery.snapshot.protected),
            receivers=len(self.receivers),
        )

    def evidence_test(self) -> SequentialTest:
        """The evidence that a sighting needs; known once everything is loaded."""
        assert self._test is not None, "no room is watched before everything is loaded"
        return self._test

    def strangers(self) -> StrangerTraffic:
        """Where faces that match nobody are counted; known once everything is loaded."""
        assert self._strangers is not None, "no room is watched before everything is loaded"
        return self._strangers

    async def load(self) -> None:
        """Load what lasts: networks, calibration, faces, open incidents."""
        await self.pool.start()
        pack = self.pool.pack
        self._strangers = await asyncio.to_thread(
            StrangerTraffic.load, self.config.gallery.traffic_file, pack.digest, pack.candidate_threshold
        )
        calibration = calibration_of(pack, self.config.gallery.calibration_file)
        self._test = await asyncio.to_thread(sized_test, calibration, self.config.sightings)
        log.info(
            "evidence_sized alpha=%.2g limit=%.2f calibration=%r",
            self._test.alpha,
            self._test.limit,
            calibration.source,
        )
        await self.gallery.sync()
        await self.book.restore()
        await self.recorder.clear()
        for gap in self.watch().gaps:
            log.warning("nothing_to_watch %s", gap)
        self._compare_with_budget()

    def _false_alerts_expected(self) -> float:
        watch = self.watch()
        if not watch.streams or not watch.identities:
            return 0.0
        return spread_over(self.config.sightings.alert_budget, watch.streams, watch.identities)

    def _compare_with_budget(self) -> None:
        watch, budget = self.watch(), self.config.sightings.alert_budget
        if watch.streams > budget.rooms or watch.identities > budget.identities:
            log.warning(
                "alert_budget_too_small rooms=%d identities=%d budget_rooms=%d budget_identities=%d "
                "consequence=more_false_alerts remedy=set_sightings.alert_budget",
                watch.streams,
                watch.identities,
                budget.rooms,
                budget.identities,
            )

    def jobs(self) -> list[Coroutine[Any, Any, None]]:
        """What runs for as long as the daemon does."""
        return [
            self.gallery.watch(),
            self.strangers().keep(self.config.gallery.traffic_file),
            self.dispatcher.run(),
            _tick(self.book),
            _spare_collector(self.gallery),
            _measure_delay(self.registry),
            self.supervisor.run(),
            self.desk.run(),
        ]


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    for collector in (PLATFORM_COLLECTOR, GC_COLLECTOR, ProcessCollector(registry=None)):
        registry.register(collector)
    return registry


@asynccontextmanager
async def running_daemon(
    config: MonitorConfig, streams: Sequence[Stream], clock: Clock | None = None
) -> AsyncIterator[Daemon]:
    """Start everything, and stop it in reverse order.

    :raises MonitorError: a part cannot start; nothing is left running then.
    """
    await asyncio.to_thread(installed_kinds)
    async with AsyncExitStack() as stack:
        stack.callback(log.info, "daemon_stopped")
        server = WebServer(config.web)
        stack.push_async_callback(server.aclose)
        server.bind()
        database = Database(config.storage.url)
        stack.push_async_callback(database.aclose)
        await database.open()
        session = await stack.enter_async_context(aiohttp.ClientSession())
        parts = _Parts(config, streams, clock or SystemClock(), database=database, session=session, url=server.url)
        stack.push_async_callback(parts.pool.aclose)
        await parts.roster.restore()
        await server.serve(parts.app())
        await parts.load()
        stack.callback(parts.strangers().save, config.gallery.traffic_file)
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(job) for job in parts.jobs()]
            log.info("daemon_started streams=%d url=%s", len(parts.roster), server.url)
            try:
                yield Daemon(
                    url=server.url,
                    book=parts.book,
                    _roster=parts.roster,
                    _supervisor=parts.supervisor,
                    _paths=parts.paths,
                )
            finally:
                log.info("daemon_stopping")
                for task in background:
                    task.cancel()


async def run_until_signal(config: MonitorConfig, streams: Sequence[Stream]) -> None:
    """Run the daemon until SIGTERM or SIGINT; either also ends a start that takes long. SIGHUP reloads the streams."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    hung_up = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, hung_up.set)
    with suppress(asyncio.CancelledError):
        async with running_daemon(config, streams) as daemon:
            while True:
                await hung_up.wait()
                hung_up.clear()
                await daemon.reload_streams(config.streams_file)


async def _tick(book: IncidentBook) -> None:
    while True:
        await asyncio.sleep(_TICK_S)
        await book.tick()


async def _spare_collector(gallery: Gallery) -> None:
    """Take a large gallery out of what Python's garbage collector walks through, again and again as it grows.

    A full collection stops every thread; a million references alone make that a third of a second. They are freed all
    the same when nothing refers to them any more. What is garbage only by its cycles just then stays: a little, and
    only as often as the gallery grew by so many.
    """
    spared = 0
    while True:
        if len(gallery.snapshot.references) >= spared + _SPARE_FROM:
            spared = len(gallery.snapshot.references)
            gc.collect(1)
            gc.freeze()
        await asyncio.sleep(_TICK_S)


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
