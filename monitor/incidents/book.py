"""The incident book: which incidents are open, and how each sighting changes them."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from monitor.clock import Clock
from monitor.errors import StorageError
from monitor.faces.face import PackInfo
from monitor.gallery.identity import Identity
from monitor.incidents import life
from monitor.incidents.config import IncidentsConfig
from monitor.incidents.incident import Decision, Incident, IncidentKey, IncidentState
from monitor.incidents.metrics import IncidentsMetrics
from monitor.incidents.rules import decide
from monitor.incidents.store import IncidentStore
from monitor.incidents.totals import Totals
from monitor.sightings.sighting import Sighting
from monitor.streams.stream import Stream

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """An open incident with what only this process knows of it."""

    incident: Incident
    totals: Totals
    seen_at: float
    """Monotonic seconds of the last sighting, or of the restore."""
    saved_at: float
    """Monotonic seconds of the last write."""


class IncidentBook:
    """Opens, extends and closes incidents. One change at a time; the store has it before the memory does.

    So a failing database loses nothing: the memory still holds the old state and the next sample tries again. A
    caller that is cancelled does not interrupt a change that has begun.
    """

    def __init__(self, store: IncidentStore, config: IncidentsConfig, clock: Clock, metrics: IncidentsMetrics) -> None:
        self._store = store
        self._config = config
        self._clock = clock
        self._metrics = metrics
        self._lock = asyncio.Lock()
        self._open: dict[IncidentKey, _Held] = {}
        self._changes: set[asyncio.Task[Any]] = set()

    def open_incidents(self) -> tuple[Incident, ...]:
        """The incidents that are open now, the earliest-opened first."""
        return tuple(sorted((held.incident for held in self._open.values()), key=lambda incident: incident.id))

    async def restore(self) -> None:
        """Take up the incidents that were open when the last process ended. Their ``close_after`` begins now.

        :raises StorageError: the database cannot be read.
        """
        async with self._lock:
            now = self._clock.monotonic()
            for incident in await self._store.load_open():
                totals = Totals(
                    samples_matched=incident.samples_matched,
                    samples_seen=incident.samples_seen,
                    seconds=incident.seconds_on_screen,
                )
                self._open[incident.key] = _Held(incident=incident, totals=totals, seen_at=now, saved_at=now)
            self._count_open()
        log.info("incidents_restored open=%d", len(self._open))

    async def observe(self, stream: Stream, identity: Identity, sighting: Sighting, pack: PackInfo) -> Incident:
        """Judge a sighting and open or extend its incident.

        :returns: the incident's state, which is on disk unless only its counters grew.
        :raises StorageError: nothing was changed; the next sample of the sighting may be observed as if this was not.
        """
        return await self._to_the_end(self._observe(stream, identity, sighting, pack))

    async def tick(self) -> None:
        """Close every incident whose likeness was not seen for ``close_after``. Call it about once a second.

        What the database does not take stays open and is tried at the next tick.
        """
        await self._to_the_end(self._close_unseen())

    async def attach_evidence(self, incident_id: str, manifest_sha256: str) -> None:
        """Note that the evidence is written; the same digest again changes nothing.

        :raises StorageError: nothing was changed.
        """
        await self._to_the_end(self._attach(incident_id, manifest_sha256))

    async def _observe(self, stream: Stream, identity: Identity, sighting: Sighting, pack: PackInfo) -> Incident:
        key = IncidentKey(identity_id=identity.id, platform=stream.platform, account=stream.account, room=stream.room)
        async with self._lock:
            now = self._clock.utc()
            held = self._open.get(key)
            decision, detail = decide(identity.permissions, stream=stream, now=now, rooms_now=self._rooms(key))
            if held is not None:
                return await self._extend(held, sighting, decision, detail)
            change = life.begin(
                key,
                stream=stream,
                identity=identity,
                sighting=sighting,
                pack=pack,
                decision=decision,
                detail=detail,
                now=now,
            )
            await self._commit(change, Totals().plus(sighting), self._clock.monotonic())
            return change.incident

    async def _extend(self, held: _Held, sighting: Sighting, decision: Decision, detail: str) -> Incident:
        now_s = self._clock.monotonic()
        totals = held.totals.plus(sighting)
        seen = replace(life.seen_again(held.incident, sighting, totals), decision_detail=detail)
        change = life.judge_again(seen, decision, detail, self._clock.utc())
        if change is not None:
            await self._commit(change, totals, now_s)
            return change.incident
        saved_at = held.saved_at
        if now_s - saved_at >= self._config.persist_every_s:
            await self._save(seen)
            saved_at = now_s
        self._open[seen.key] = _Held(incident=seen, totals=totals, seen_at=now_s, saved_at=saved_at)
        return seen

    async def _close_unseen(self) -> None:
        async with self._lock:
            now_s = self._clock.monotonic()
            for held in list(self._open.values()):
                unseen_s = now_s - held.seen_at
                if unseen_s < self._config.close_after:
                    continue
                change = life.close(held.incident, self._clock.utc(), unseen_s)
                try:
                    await self._commit(change, held.totals, held.seen_at)
                except StorageError as err:
                    log.warning("incident_not_closed incident=%s error=%s", held.incident.id, err)

    async def _attach(self, incident_id: str, manifest_sha256: str) -> None:
        async with self._lock:
            if not await self._store.attach_evidence(incident_id, manifest_sha256, self._clock.utc()):
                return
            for key, held in self._open.items():
                if held.incident.id == incident_id:
                    known = replace(held.incident, manifest_sha256=manifest_sha256)
                    self._open[key] = replace(held, incident=known)
                    break
        log.info("incident_evidence incident=%s manifest_sha256=%s", incident_id, manifest_sha256)

    async def _commit(self, change: life.Change, totals: Totals, seen_at: float) -> None:
        incident = change.incident
        await self._save(incident, change)
        if incident.state is IncidentState.OPEN:
            self._open[incident.key] = _Held(
                incident=incident, totals=totals, seen_at=seen_at, saved_at=self._clock.monotonic()
            )
        else:
            del self._open[incident.key]
        self._metrics.transitions.labels(event=change.entry.event, decision=incident.decision).inc()
        self._count_open()
        log.info(
            "incident event=%s incident=%s identity=%s account=%s/%s room=%s decision=%s similarity=%.3f detail=%r",
            change.entry.event,
            incident.id,
            incident.key.identity_id,
            incident.key.platform,
            incident.key.account,
            incident.key.room,
            incident.decision,
            incident.similarity,
            change.entry.detail,
        )

    async def _save(self, incident: Incident, change: life.Change | None = None) -> None:
        try:
            if change is None:
                await self._store.save(incident)
            else:
                await self._store.save(incident, timeline=(change.entry,), transition=change.transition)
        except StorageError:
            self._metrics.store_failures.inc()
            raise

    def _rooms(self, key: IncidentKey) -> tuple[str, ...]:
        """Rooms of the key's account that show its identity, the earliest-opened first, the key's own included."""
        rooms = [incident.key.room for incident in self.open_incidents() if replace(incident.key, room=key.room) == key]
        return tuple(rooms) if key.room in rooms else (*rooms, key.room)

    def _count_open(self) -> None:
        counts = Counter(held.incident.decision for held in self._open.values())
        for decision in Decision:
            self._metrics.open.labels(decision=decision).set(counts[decision])

    async def _to_the_end(self, change: Coroutine[Any, Any, T]) -> T:
        # Cancelled between the store's commit and the memory's change, the two would differ until the next start.
        task = asyncio.create_task(change)
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        return await asyncio.shield(task)
