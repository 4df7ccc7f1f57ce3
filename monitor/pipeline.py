"""One stream's path: sampled frame -> faces -> matches -> tracks -> incident -> evidence. Wiring, no rules."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from monitor.clock import Clock
from monitor.errors import FrameLost, StorageError
from monitor.evidence.manifest import Findings
from monitor.faces.face import Embedding, PackInfo, PictureFaces, Settled
from monitor.faces.still import StillFaces
from monitor.gallery.identity import Identity, Match
from monitor.gallery.snapshot import GallerySnapshot
from monitor.incidents.attention import attention
from monitor.incidents.book import WriteEvidence
from monitor.incidents.incident import Decision, EvidenceRecord, EvidenceWish, Incident
from monitor.sightings.config import SightingsConfig
from monitor.sightings.metrics import SightingsMetrics
from monitor.sightings.sequential_test import SequentialTest
from monitor.sightings.sighting import EvidenceVerdict, Sighting
from monitor.sightings.tracker import Tracker, TrackUpdate
from monitor.streams.feed import StreamFeed
from monitor.streams.packet import EncodedFrame
from monitor.streams.sampling import Attention
from monitor.streams.stream import Stream

log = logging.getLogger(__name__)

_BURST_WAIT_S = 6.0
"""How long a burst waits for a picture that is not there yet before it leaves it to the next sample."""
_MATCHED_ON_LOOP = 10_000
"""References up to which a picture's faces are compared on the event loop: a few milliseconds."""

_LOST_INTERVALS = 2.5


class FaceFinder(Protocol):
    """The part of the VisionPool that a stream's path uses."""

    @property
    def pack(self) -> PackInfo: ...

    async def analyse(
        self, frame: EncodedFrame, last_luma: bytes | None = None, settled: Settled | None = None
    ) -> tuple[PictureFaces, ...]: ...


class Strangers(Protocol):
    """The part of the StrangerTraffic that a stream's path uses."""

    def observe(self, stranger: Embedding, gallery: GallerySnapshot, *, room: str, now: float) -> None: ...


class Incidents(Protocol):
    """The part of the IncidentBook that a stream's path uses."""

    def wants_evidence(self, stream: Stream, identity: Identity, sighting: Sighting) -> EvidenceWish | None: ...

    async def observe(
        self,
        stream: Stream,
        identity: Identity,
        sighting: Sighting,
        pack: PackInfo,
        write_evidence: WriteEvidence | None = None,
    ) -> Incident: ...


class Draft(Protocol):
    """Drawn evidence."""

    async def write(self, incident: Incident) -> EvidenceRecord | None: ...

    async def discard(self) -> None: ...


class Evidence(Protocol):
    """The part of the EvidenceRecorder that a stream's path uses."""

    async def draw(self, findings: Findings) -> Draft | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was last seen on a stream; numbers only, nothing that identifies a bystander."""

    at: datetime
    faces: int
    similarity: float | None
    """Highest similarity to anybody in the gallery in that picture."""
    identity: str | None
    """Name of the identity a running sighting proves, if one does."""
    verdict: EvidenceVerdict
    decision: Decision | None
    """The rules' decision on that sighting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Path:
    """What one stream's path consists of."""

    feed: StreamFeed
    faces: StillFaces
    tracker: Tracker


class StreamPaths:
    """Consumes streams' frames; one object for all streams, one :meth:`run` per stream."""

    def __init__(
        self,
        *,
        faces: FaceFinder,
        gallery: Callable[[], GallerySnapshot],
        incidents: Incidents,
        evidence: Evidence,
        config: SightingsConfig,
        test: Callable[[], SequentialTest],
        strangers: Callable[[], Strangers],
        metrics: SightingsMetrics,
        clock: Clock,
    ) -> None:
        self._faces = faces
        self._gallery = gallery
        self._incidents = incidents
        self._evidence = evidence
        self._config = config
        self._test = test
        self._strangers = strangers
        self._metrics = metrics
        self._clock = clock
        self._looks: dict[str, Look] = {}

    @property
    def looks(self) -> Mapping[str, Look]:
        """Stream id to what was last seen there."""
        return self._looks

    async def run(self, feed: StreamFeed) -> None:
        """Consume one stream's frames for ever; a lost frame or a failed write costs that frame only."""
        config = _patient(self._config, feed.longest_interval_s)
        tracker = Tracker(feed.stream.id, self._faces.pack, config, self._test())
        path = _Path(feed=feed, faces=StillFaces(self._faces), tracker=tracker)
        try:
            while True:
                frame = await feed.next_frame()
                await self._look(path, frame, tracker.settled(frame))
                await self._burst(path, frame.epoch)
        finally:
            self._looks.pop(feed.stream.id, None)
            tracker.end()
            self._count_strangers(tracker, feed.stream.id)

    async def _burst(self, path: _Path, epoch: int) -> None:
        """Look at denser pictures around a candidate, so that proof does not wait for the sampling interval."""
        feed, tracker = path.feed, path.tracker
        if not tracker.burst_wanted():
            return
        feed.settle(Attention.UNDECIDED)
        if not await feed.fill_ring(epoch, _BURST_WAIT_S):
            return
        tried: set[float] = set()
        while wanted := [moment for moment in tracker.burst_wanted() if moment not in tried]:
            newest = feed.ring.newest_time
            if feed.ring.epoch != epoch or newest is None:
                return
            reachable = [moment for moment in wanted if moment <= newest]
            if not reachable:
                if not await feed.wait_until(epoch, wanted[0], _BURST_WAIT_S):
                    return
                continue
            tried.update(reachable)
            for frame in feed.ring.frames_at(reachable):
                await self._look(path, frame)

    async def _look(self, path: _Path, frame: EncodedFrame, settled: Settled | None = None) -> None:
        stream = path.feed.stream
        try:
            pictures = await path.faces.analyse(frame, settled)
        except FrameLost as error:
            log.warning("frame_lost stream=%s reason=%s", stream.id, error.reason)
            return
        snapshot = self._gallery()
        for picture in pictures:
            matches = await _matched(snapshot, picture)
            updates = path.tracker.observe(frame, picture, matches)
            self._metrics.count(updates)
            self._count_strangers(path.tracker, stream.id)
            decisions = []
            for update in updates:
                if update.sighting is not None and (decision := await self._report(stream, snapshot, update.sighting)):
                    decisions.append(decision)
            path.feed.settle(attention([update.verdict for update in updates], decisions))
            self._remember(stream, picture, matches, updates, snapshot, decisions[-1] if decisions else None)

    def _count_strangers(self, tracker: Tracker, room: str) -> None:
        for stranger in tracker.take_strangers():
            self._strangers().observe(stranger, self._gallery(), room=room, now=self._clock.monotonic())

    async def _report(self, stream: Stream, snapshot: GallerySnapshot, sighting: Sighting) -> Decision | None:
        identity = snapshot.identities.get(sighting.identity_id)
        if identity is None:  # withdrawn since the picture was matched
            return None
        pack = self._faces.pack
        draft = None
        if wish := self._incidents.wants_evidence(stream, identity, sighting):
            draft = await self._evidence.draw(
                Findings(
                    stream=stream,
                    identity=identity,
                    sighting=sighting,
                    pack=pack,
                    gallery_digest=snapshot.digest,
                    shown=sighting.clearest if wish is EvidenceWish.FIRST else sighting.clearest_now,
                )
            )
        try:
            incident = await self._incidents.observe(stream, identity, sighting, pack, draft.write if draft else None)
        except StorageError as error:
            log.error("sighting_not_written stream=%s identity=%s error=%s", stream.id, identity.id, error)
            if draft is not None:
                await draft.discard()
            return None
        return incident.decision

    def _remember(
        self,
        stream: Stream,
        picture: PictureFaces,
        matches: list[Match | None],
        updates: list[TrackUpdate],
        snapshot: GallerySnapshot,
        decision: Decision | None,
    ) -> None:
        proven = next((update.sighting for update in updates if update.sighting), None)
        identity = snapshot.identities.get(proven.identity_id) if proven else None
        self._looks[stream.id] = Look(
            at=self._clock.utc(),
            faces=len(picture.faces),
            similarity=max((match.best.similarity for match in matches if match), default=None),
            identity=identity.name if identity else None,
            verdict=_best_verdict(updates),
            decision=decision,
        )


async def _matched(snapshot: GallerySnapshot, picture: PictureFaces) -> list[Match | None]:
    """The best identity of each face; None where it was not embedded."""
    embeddings = [face.embedding for face in picture.faces]
    if len(snapshot.references) > _MATCHED_ON_LOOP:
        return await asyncio.to_thread(snapshot.match_each, embeddings)
    return snapshot.match_each(embeddings)


def _patient(config: SightingsConfig, interval_s: float) -> SightingsConfig:
    """With the time to miss one sample: where looks are rare, a face that is there all the time must not count as
    gone between two of them."""
    lost_after_s = max(config.track_lost_after_s, _LOST_INTERVALS * interval_s)
    return config.model_copy(update={"track_lost_after_s": lost_after_s})


def _best_verdict(updates: list[TrackUpdate]) -> EvidenceVerdict:
    """The verdict nearest to a proof: the enum is ordered from nobody to passed, passed first."""
    order = [EvidenceVerdict.PASSED, EvidenceVerdict.WEAK_EVIDENCE]
    order += [EvidenceVerdict.TOO_SHORT, EvidenceVerdict.TOO_FEW_SAMPLES]
    order += [EvidenceVerdict.SMALL_MARGIN, EvidenceVerdict.BELOW_SIMILARITY, EvidenceVerdict.LOOK_ALIKE]
    found = {update.verdict for update in updates}
    return next((verdict for verdict in order if verdict in found), EvidenceVerdict.NOBODY_PROTECTED)
