"""The incident book: which incidents are open, and how each sighting changes them."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from monitor.clock import Clock
from monitor.errors import StorageError
from monitor.faces.face import PackInfo
from monitor.gallery.identity import Identity
from monitor.incidents import life
from monitor.incidents.config import IncidentsConfig
from monitor.incidents.incident import (
    Decision,
    EvidenceRecord,
    EvidenceWish,
    Incident,
    IncidentKey,
    IncidentState,
    TimelineEntry,
)
from monitor.incidents.metrics import IncidentsMetrics
from monitor.incidents.rules import Judgement, Showing, decide
from monitor.incidents.store import IncidentStore
from monitor.incidents.totals import Totals
from monitor.sightings.sighting import Sighting
from monitor.streams.stream import Stream

log = logging.getLogger(__name__)

T = TypeVar("T")

WriteEvidence = Callable[[Incident], Awaitable[EvidenceRecord | None]]
"""Writes an incident's evidence, returns what is on disk; None if that failed, which it has told itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """An open incident with what only this process knows of it."""

    incident: Incident
    totals: Totals
    showing: Showing
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
                at = incident.last_seen_at
                showing = Showing(room=incident.key.room, kind=None, first_seen=at, last_seen=at)
                self._open[incident.key] = _Held(
                    incident=incident, totals=totals, showing=showing, seen_at=now, saved_at=now
                )
            self._count_open()
        log.info("incidents_restored open=%d", len(self._open))

    def wants_evidence(self, stream: Stream, identity: Identity, sighting: Sighting) -> EvidenceWish | None:
        """Why the sighting is worth evidence, by what is known now: it is a violation of which there is none yet, or
        none that shows it so prominently."""
        held = self._open.get(IncidentKey.of(stream, identity))
        decision = self._judge(held, stream, identity, sighting).decision
        if held is None:
            return EvidenceWish.FIRST if decision.is_violation else None
        return replace(held.incident, decision=decision).evidence_wish(sighting.presence)

    async def observe(
        self,
        stream: Stream,
        identity: Identity,
        sighting: Sighting,
        pack: PackInfo,
        write_evidence: WriteEvidence | None = None,
    ) -> Incident:
        """Judge a sighting and open or extend its incident.

        :param write_evidence: called for a violation that has no evidence yet, or none that shows it as prominently as
            this sighting. What it wrote is noted in the same transaction as the incident's opening or escalation, so
            that nobody is told of a violation whose proof may still be lost.
        :returns: the incident's state, which is on disk unless only its counters grew.
        :raises StorageError: nothing was changed; the next sample of the sighting may be observed as if this was not.
        """
        return await self._to_the_end(self._observe(stream, identity, sighting, pack, write_evidence))

    async def tick(self) -> None:
        """Close every incident whose likeness was not seen for ``close_after``. Call it about once a second.

        What the database does not take stays open and is tried at the next tick.
        """
        await self._to_the_end(self._close_unseen())

    async def _observe(
        self,
        stream: Stream,
        identity: Identity,
        sighting: Sighting,
        pack: PackInfo,
        write_evidence: WriteEvidence | None,
    ) -> Incident:
        async with self._lock:
            now, now_s = self._clock.utc(), self._clock.monotonic()
            held = self._open.get(IncidentKey.of(stream, identity))
            judgement = self._judge(held, stream, identity, sighting)
            totals = (held.totals if held else Totals()).plus(sighting)
            if held is None:
                change = life.begin(stream, identity, sighting, pack, judgement, now)
            else:
                change = life.seen_again(held.incident, sighting, totals, judgement, now)
            if write_evidence is not None and change.incident.evidence_wish(sighting.presence):
                record = await write_evidence(change.incident)
                if record is not None:
                    change = life.with_evidence(change, record, now)
            after = _Held(
                incident=change.incident,
                totals=totals,
                showing=_showing(stream, sighting),
                seen_at=now_s,
                saved_at=held.saved_at if held else now_s,
            )
            await self._take(change, after)
            return change.incident

    async def _take(self, change: life.Change, after: _Held) -> None:
        """Keep the state ``after``; it is written if there is something to tell, or if it was not written for long."""
        if change.timeline or after.seen_at - after.saved_at >= self._config.persist_every_s:
            await self._commit(change, replace(after, saved_at=after.seen_at))
        else:
            self._open[change.incident.key] = after

    async def _close_unseen(self) -> None:
        async with self._lock:
            now_s = self._clock.monotonic()
            for held in list(self._open.values()):
                unseen_s = now_s - held.seen_at
                if unseen_s < self._config.close_after:
                    continue
                change = life.close(held.incident, self._clock.utc(), unseen_s)
                try:
                    await self._commit(change, held)
                except StorageError as err:
                    log.warning("incident_not_closed incident=%s error=%s", held.incident.id, err)

    async def _commit(self, change: life.Change, after: _Held) -> None:
        incident = change.incident
        try:
            await self._store.save(incident, timeline=change.timeline, transition=change.transition)
        except StorageError:
            self._metrics.store_failures.inc()
            raise
        if incident.state is IncidentState.OPEN:
            self._open[incident.key] = after
        else:
            del self._open[incident.key]
        self._count_open()
        for entry in change.timeline:
            self._metrics.transitions.labels(event=entry.event, decision=incident.decision).inc()
            _log(incident, entry)

    def _judge(self, held: _Held | None, stream: Stream, identity: Identity, sighting: Sighting) -> Judgement:
        publisher = IncidentKey.of(stream, identity).publisher
        earlier = [
            other
            for other in self._open.values()
            if other.incident.key.publisher == publisher and (held is None or other.incident.id < held.incident.id)
        ]
        return decide(
            identity.permissions,
            stream=stream,
            now=self._clock.utc(),
            showing=_showing(stream, sighting),
            earlier=[other.showing for other in sorted(earlier, key=lambda other: other.incident.id)],
            before=held.incident.decision if held else None,
        )

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


def _showing(stream: Stream, sighting: Sighting) -> Showing:
    return Showing(room=stream.room, kind=stream.kind, first_seen=sighting.first_seen, last_seen=sighting.last_seen)


def _log(incident: Incident, entry: TimelineEntry) -> None:
    log.info(
        "incident event=%s incident=%s identity=%s account=%s/%s room=%s decision=%s presence=%s similarity=%.3f "
        "detail=%r",
        entry.event,
        incident.id,
        incident.key.identity_id,
        incident.key.platform,
        incident.key.account,
        incident.key.room,
        incident.decision,
        incident.presence,
        incident.similarity,
        entry.detail,
    )
