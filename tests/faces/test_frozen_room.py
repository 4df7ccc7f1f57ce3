"""A room whose picture stands still: a protected face in it goes on being a violation, without being searched for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from faces.pictures import Picture, room_picture
from prometheus_client import CollectorRegistry
from support.violations import make_identity, make_incident, make_reference, make_stream
from support.waiting import wait_for

from monitor.clock import ManualClock
from monitor.faces.config import FacesConfig
from monitor.faces.face import PackInfo
from monitor.faces.metrics import FacesMetrics
from monitor.faces.pool import VisionPool
from monitor.gallery.calibration_defaults import default_calibration
from monitor.gallery.identity import Identity
from monitor.gallery.snapshot import GallerySnapshot
from monitor.gallery.stranger_traffic import StrangerTraffic
from monitor.incidents.incident import EvidenceWish, Incident
from monitor.pipeline import StreamPaths
from monitor.sightings.config import SightingsConfig
from monitor.sightings.evidence_limit import sized_test
from monitor.sightings.metrics import SightingsMetrics
from monitor.sightings.sighting import Sighting
from monitor.streams.config import StreamsConfig
from monitor.streams.feed import StreamFeed
from monitor.streams.metrics import StreamMetrics
from monitor.streams.packet import EncodedFrame
from monitor.streams.stream import Stream


class Sightings:
    """Notes what it is told, as the incident book would."""

    def __init__(self) -> None:
        self.seen: list[Sighting] = []

    def wants_evidence(self, stream: Stream, identity: Identity, sighting: Sighting) -> EvidenceWish | None:
        return None

    async def observe(
        self, stream: Stream, identity: Identity, sighting: Sighting, pack: PackInfo, write_evidence: object = None
    ) -> Incident:
        self.seen.append(sighting)
        return make_incident()


async def test_a_protected_face_in_a_frozen_picture_goes_on_being_a_sighting(
    faces_config: FacesConfig, make_clip: Callable[..., EncodedFrame], portraits: dict[str, Picture]
) -> None:
    registry, clock = CollectorRegistry(), ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    frame = make_clip([room_picture(portraits["obama_official_portrait"])])
    pool = VisionPool(faces_config, FacesMetrics(registry))
    await pool.start()
    try:
        ((face,),) = [picture.faces for picture in await pool.analyse(frame)]
        reference = replace(make_reference(), embedding=face.embedding, pack_digest=pool.pack.digest)
        gallery = GallerySnapshot.build({"obama": make_identity()}, [reference], refused=(), errors=())
        incidents = Sightings()
        feed = StreamFeed(make_stream(), StreamsConfig(), clock, StreamMetrics(registry))
        paths = StreamPaths(
            faces=pool,
            gallery=lambda: gallery,
            incidents=incidents,
            evidence=incidents,  # type: ignore[arg-type]
            config=SightingsConfig(burst_samples=0),
            test=lambda: sized_test(default_calibration(pool.pack), SightingsConfig()),
            strangers=lambda: StrangerTraffic("d1", 0.3),
            metrics=SightingsMetrics(registry),
            clock=clock,
        )

        def value(name: str) -> float:
            return registry.get_sample_value(f"monitor_faces_{name}_total") or 0.0

        running = asyncio.create_task(paths.run(feed))
        feed.begin(frame.format)
        for index in range(10):
            at = index * 2 * 90_000
            feed.push([replace(frame.packets[0], pts=at, dts=at)], 0)
            # The slot holds one picture: the next one comes once this one was taken.
            looked_at = index + 2
            await wait_for(
                lambda wanted=looked_at: value("pictures") + value("unchanged_pictures") >= wanted,
                timeout_s=10,
                what=f"picture {index} is looked at",
            )
        await wait_for(lambda: incidents.seen[-1].seconds >= 18, timeout_s=10, what="18 s of the face")
        assert len({sighting.id for sighting in incidents.seen}) == 1
        # Once for the reference above, once for the room.
        assert value("pictures") == 2
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    finally:
        await pool.aclose()
