"""One stream's path from encoded pictures to an incident with its evidence; only the networks are stand-ins."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from support.packets import FORMAT, gop
from support.rooms import TEST
from support.violations import PACK, START, make_identity, make_permission, make_reference, make_stream
from support.waiting import wait_for

from monitor.clock import ManualClock
from monitor.errors import FrameLossReason, FrameLost
from monitor.evidence.metrics import EvidenceMetrics
from monitor.evidence.recorder import DRAW_TRIES, EvidenceRecorder
from monitor.faces.face import GRID_SIDE, Box, Embedding, EvidencePictures, Face, PictureFaces, Quality, Settled
from monitor.gallery.identity import Identity
from monitor.gallery.snapshot import GallerySnapshot
from monitor.gallery.stranger_traffic import StrangerTraffic
from monitor.incidents.book import IncidentBook
from monitor.incidents.config import IncidentsConfig
from monitor.incidents.incident import Decision, Incident
from monitor.incidents.metrics import IncidentsMetrics
from monitor.pipeline import StreamPaths
from monitor.sightings.config import SightingsConfig
from monitor.sightings.metrics import SightingsMetrics
from monitor.sightings.presence import Presence
from monitor.storage.database import Database
from monitor.storage.incidents import SqlIncidentStore
from monitor.storage.reader import SqlIncidentReader
from monitor.streams.config import StreamsConfig
from monitor.streams.feed import StreamFeed
from monitor.streams.metrics import StreamMetrics
from monitor.streams.packet import EncodedFrame

BESIDE = Box(x1=200, y1=10, x2=300, y2=130)


class Vision:
    """Sees the protected person in every picture, and loses the evidence of the first ``loses`` tries."""

    def __init__(self) -> None:
        self.pack = PACK
        self.loses = 0
        self.looked = 0
        self.drew = 0
        self.settled: dict[float, Settled | None] = {}
        """What it was told of settled faces, by the stream time of the frame."""
        self.beside: Embedding | None = None
        """Of a second face, at ``BESIDE``."""
        self.appears_at = 0.0
        self.moves = True
        """Whether the face changes from picture to picture, as one that talks; else it is a print."""

    def _grid(self) -> bytes:
        chance = np.random.default_rng(self.looked if self.moves else 0)
        return chance.integers(0, 255, GRID_SIDE**2, np.uint8).tobytes()

    async def analyse(
        self, frame: EncodedFrame, last_luma: bytes | None = None, settled: Settled | None = None
    ) -> tuple[PictureFaces, ...]:
        self.looked += len(frame.instants)
        self.settled[frame.stream_time] = settled
        face = Face(
            box=Box(x1=10, y1=10, x2=110, y2=130),
            landmarks=np.zeros((5, 2), np.float32),
            det_score=0.9,
            quality=Quality(sharpness=200.0, brightness=120.0),
            embedding=make_reference().embedding,
            grid=self._grid(),
        )
        faces = (face,) if frame.stream_time >= self.appears_at else ()
        if self.beside is not None:
            faces = (*faces, replace(face, box=BESIDE, embedding=self.beside))
        return tuple(PictureFaces(pts=instant, width=320, height=180, faces=faces) for instant in frame.instants)

    async def render(self, frame: EncodedFrame, pts: int, box: Box, label: str) -> EvidencePictures:
        self.drew += 1
        if self.drew <= self.loses:
            raise FrameLost(FrameLossReason.WORKER_DIED)
        return EvidencePictures(frame_jpeg=b"frame", crop_jpeg=b"crop")


class Room:
    """A stream with its path, down to the disk."""

    def __init__(self, folder: Path, database: Database) -> None:
        clock, registry = ManualClock(now=START), CollectorRegistry()
        self.vision, self.identity = Vision(), make_identity()
        self.database, self.evidence = database, folder / "evidence"
        self.reader = SqlIncidentReader(database)
        store = SqlIncidentStore(database, receivers=["hook"], web_base_url="http://127.0.0.1:8080")
        self.feed = StreamFeed(make_stream(), StreamsConfig(), clock, StreamMetrics(registry))
        self.feed.begin(FORMAT)
        self.paths = StreamPaths(
            faces=self.vision,
            gallery=lambda: _gallery(self.identity),
            incidents=IncidentBook(store, IncidentsConfig(), clock, IncidentsMetrics(registry)),
            evidence=EvidenceRecorder(self.evidence, self.vision, clock, EvidenceMetrics(registry), "0.1.0"),
            config=SightingsConfig(),
            test=lambda: TEST,
            strangers=lambda: StrangerTraffic("d1", 0.3),
            metrics=SightingsMetrics(registry),
            clock=clock,
        )

    def on_air(self, second: int) -> None:
        """Four seconds of video, in which a burst finds all that a proof needs."""
        self.feed.push(gop(second * 1000, 40), 4000)

    async def incident(self) -> Incident | None:
        return next(iter(await self.reader.page(limit=1)), None)

    async def has_evidence(self) -> bool:
        incident = await self.incident()
        return incident is not None and incident.manifest_sha256 is not None

    @property
    def recorded(self) -> dict[str, str]:
        """Folder to the digest of the manifest in it."""
        return {
            path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self.evidence.glob("*/manifest.json")
        }


def _gallery(identity: Identity) -> GallerySnapshot:
    return GallerySnapshot.build({identity.id: identity}, [make_reference()], refused=(), errors=())


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    database = Database(f"sqlite:///{tmp_path}/monitor.db")
    await database.open()
    yield Room(tmp_path, database)
    await database.aclose()


@asynccontextmanager
async def watched(room: Room) -> AsyncIterator[None]:
    task = asyncio.create_task(room.paths.run(room.feed))
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_worker_that_dies_over_the_last_picture_costs_no_evidence(room: Room) -> None:
    room.vision.loses = DRAW_TRIES - 1
    room.on_air(0)
    async with watched(room):
        await wait_for(room.has_evidence, timeout_s=30, what="an incident with evidence")
    incident = await room.incident()
    assert incident is not None
    assert room.recorded == {incident.id: incident.manifest_sha256}
    assert [entry.event for entry in await room.reader.timeline(incident.id)] == ["opened", "evidence_recorded"]
    assert room.vision.drew == DRAW_TRIES


async def test_evidence_that_cannot_be_drawn_delays_no_alert_and_is_recorded_with_a_later_sample(room: Room) -> None:
    room.vision.loses = 10**6
    room.on_air(0)
    async with watched(room):
        await wait_for(room.incident, timeout_s=30, what="an incident")
        first = await room.incident()
        assert first is not None
        assert (first.manifest_sha256, room.recorded) == (None, {})
        assert [delivery.transition for delivery in await room.reader.deliveries(first.id)] == ["opened"]
        room.vision.loses = 0
        room.on_air(4)
        await wait_for(room.has_evidence, timeout_s=30, what="the evidence")
    incident = await room.incident()
    assert incident is not None
    assert room.recorded == {first.id: incident.manifest_sha256}


async def test_an_incident_that_the_database_did_not_take_leaves_no_pictures_behind(room: Room) -> None:
    refusal = sqlite3.connect(room.database.path, isolation_level=None)
    refusal.execute("CREATE TRIGGER full BEFORE INSERT ON incidents BEGIN SELECT RAISE(FAIL, 'disk full'); END")
    room.on_air(0)
    async with watched(room):
        await wait_for(lambda: room.vision.drew and not room.recorded, timeout_s=30, what="the first attempt")
        refusal.execute("DROP TRIGGER full")
        refusal.close()
        room.on_air(4)
        await wait_for(room.has_evidence, timeout_s=30, what="the evidence")
    incident = await room.incident()
    assert incident is not None
    assert room.recorded == {incident.id: incident.manifest_sha256}
    assert sorted(path.name for path in room.evidence.iterdir()) == [incident.id]


async def test_a_stranger_beside_somebody_protected_is_spared_in_samples_but_never_in_a_burst(room: Room) -> None:
    room.vision.beside, room.vision.appears_at = make_reference().embedding * np.tile(np.float32([1, -1]), 64), 8.0
    settled = room.vision.settled
    async with watched(room):
        for second in (0, 4, 8, 12):
            room.on_air(second)
            await wait_for(
                lambda wanted=second: float(wanted) in settled, timeout_s=30, what=f"the sample at {second} s"
            )
        await wait_for(room.incident, timeout_s=30, what="an incident")
    assert (settled[0.0], settled[4.0]) == (None, None)
    for sample in (settled[8.0], settled[12.0]):
        assert sample is not None
        assert {face.box for face in sample.faces} == {BESIDE}
    burst = [spared for second, spared in settled.items() if 8 < second < 12]
    assert burst
    assert set(burst) == {None}


async def test_nothing_is_drawn_of_a_likeness_that_is_permitted(room: Room) -> None:
    room.identity = make_identity(make_permission("obama-clone"))
    room.on_air(0)
    async with watched(room):
        await wait_for(room.incident, timeout_s=30, what="the record of it")
        seen = room.vision.looked
        room.on_air(4)
        await wait_for(lambda: room.vision.looked > seen, timeout_s=30, what="another look")
    incident = await room.incident()
    assert incident is not None
    assert (incident.decision, incident.manifest_sha256) == (Decision.PERMITTED, None)
    assert room.vision.drew == 0
    assert not room.evidence.exists()


async def test_evidence_is_drawn_once_however_long_the_likeness_is_shown(room: Room) -> None:
    async with watched(room):
        for second in (0, 4, 8):
            seen = room.vision.looked
            room.on_air(second)
            await wait_for(lambda seen=seen: room.vision.looked > seen, timeout_s=30, what="a look")
        await wait_for(room.has_evidence, timeout_s=30, what="the evidence")
    assert room.vision.drew == 1


async def test_a_print_that_comes_to_life_is_told_first_as_a_picture_and_then_as_somebody_who_presents(
    room: Room,
) -> None:
    room.vision.moves = False
    room.on_air(0)
    async with watched(room):
        await wait_for(room.has_evidence, timeout_s=30, what="an incident with evidence")
        first = await room.incident()
        assert first is not None
        assert first.presence is Presence.STATIC_IMAGE
        manifest = json.loads((room.evidence / first.id / "manifest.json").read_bytes())
        assert manifest["sighting"]["presence"] == "static_image"
        assert manifest["sighting"]["presence_measured"]["rigidity"] == 1.0
        room.vision.moves = True

        async def presents() -> bool:
            incident = await room.incident()
            return incident is not None and incident.presence is Presence.PRESENTER

        for second in (4, 8, 12):
            seen = room.vision.looked
            room.on_air(second)
            await wait_for(lambda seen=seen: room.vision.looked > seen, timeout_s=30, what="a look")
        await wait_for(presents, timeout_s=30, what="the escalation")
    told = [delivery.transition for delivery in await room.reader.deliveries(first.id)]
    assert told == ["opened", "escalated"]
    incident = await room.incident()
    assert incident is not None
    assert {record.folder: record.manifest_sha256 for record in incident.evidence} == room.recorded
    assert [record.folder for record in incident.evidence] == [first.id, f"{first.id}-presenter"]
    again = json.loads((room.evidence / incident.evidence_folder / "manifest.json").read_bytes())
    assert again["sighting"]["presence"] == "presenter"
    assert again["shown_sample"] in again["samples"][-3:], "the picture is of now"
    assert again["incident"]["earlier_manifests_sha256"] == [first.manifest_sha256]
    assert room.vision.drew == 2


async def test_an_escalation_that_the_database_did_not_take_leaves_no_pictures_and_is_told_with_a_later_sample(
    room: Room,
) -> None:
    room.vision.moves = False
    room.on_air(0)
    async with watched(room):
        await wait_for(room.has_evidence, timeout_s=30, what="an incident with evidence")
        refusal = sqlite3.connect(room.database.path, isolation_level=None)
        refusal.execute("CREATE TRIGGER full BEFORE UPDATE ON incidents BEGIN SELECT RAISE(FAIL, 'disk full'); END")
        room.vision.moves = True
        second = 0

        async def more(done: Callable[[], Awaitable[bool]], what: str) -> None:
            nonlocal second
            while not await done():
                second += 4
                assert second < 80, what
                seen = room.vision.looked
                room.on_air(second)
                await wait_for(lambda seen=seen: room.vision.looked > seen, timeout_s=30, what="a look")

        async def taken_back() -> bool:
            return room.vision.drew > 1 and len(room.recorded) == 1

        async def presents() -> bool:
            incident = await room.incident()
            return incident is not None and len(incident.evidence) == 2

        await more(taken_back, "the first attempt")
        refusal.execute("DROP TRIGGER full")
        refusal.close()
        await more(presents, "the escalation")
    incident = await room.incident()
    assert incident is not None
    assert {record.folder: record.manifest_sha256 for record in incident.evidence} == room.recorded
    assert [delivery.transition for delivery in await room.reader.deliveries(incident.id)] == ["opened", "escalated"]
