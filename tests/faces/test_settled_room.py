"""A stranger sits in a room: few of its pictures are embedded, until somebody protected takes their place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from faces.pictures import Picture, room_picture
from faces.test_frozen_room import Sightings
from prometheus_client import CollectorRegistry
from support.violations import make_identity, make_reference, make_stream
from support.waiting import wait_for

from monitor.clock import ManualClock
from monitor.faces.config import FacesConfig
from monitor.faces.metrics import FacesMetrics
from monitor.faces.pool import VisionPool
from monitor.gallery.calibration_defaults import default_calibration
from monitor.gallery.snapshot import GallerySnapshot
from monitor.gallery.stranger_traffic import StrangerTraffic
from monitor.pipeline import StreamPaths
from monitor.sightings.config import SightingsConfig
from monitor.sightings.evidence_limit import sized_test
from monitor.sightings.metrics import SightingsMetrics
from monitor.streams.config import StreamsConfig
from monitor.streams.feed import StreamFeed
from monitor.streams.metrics import StreamMetrics
from monitor.streams.packet import EncodedFrame


class Strangers(StrangerTraffic):
    """Counts whom it is told of."""

    seen = 0

    def observe(self, *_: object, **__: object) -> None:
        self.seen += 1


def noisy(picture: Picture, seed: int) -> Picture:
    noise = np.random.default_rng(seed).normal(0, 5, picture.shape)
    return np.clip(picture + noise + (seed % 2) * 4, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("interval_s", "embedded"), [(6.0, 4), (0.0, 10)])
async def test_a_stranger_is_embedded_now_and_then_and_whoever_follows_them_is_a_sighting(
    faces_config: FacesConfig,
    make_clip: Callable[..., EncodedFrame],
    portraits: dict[str, Picture],
    interval_s: float,
    embedded: int,
) -> None:
    registry, clock = CollectorRegistry(), ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    pool = VisionPool(faces_config, FacesMetrics(registry))
    await pool.start()
    try:
        reference_picture = make_clip([room_picture(portraits["obama_official_portrait"])])
        ((face,),) = [picture.faces for picture in await pool.analyse(reference_picture)]
        reference = replace(make_reference(), embedding=face.embedding, pack_digest=pool.pack.digest)
        gallery = GallerySnapshot.build({"obama": make_identity()}, [reference], refused=(), errors=())
        incidents, strangers = Sightings(), Strangers("d1", 0.3)
        feed = StreamFeed(make_stream(), StreamsConfig(), clock, StreamMetrics(registry))
        config = SightingsConfig(burst_samples=0, reembed_interval_s=interval_s)
        paths = StreamPaths(
            faces=pool,
            gallery=lambda: gallery,
            incidents=incidents,
            evidence=incidents,  # type: ignore[arg-type]
            config=config,
            test=lambda: sized_test(default_calibration(pool.pack), config),
            strangers=lambda: strangers,
            metrics=SightingsMetrics(registry),
            clock=clock,
        )

        def count(verdict: str) -> float:
            return registry.get_sample_value("monitor_faces_found_total", {"verdict": verdict}) or 0.0

        async def show(second: int, picture: Picture) -> None:
            before = count("embedded") + count("settled")
            at = second * 90_000
            packet = make_clip([noisy(picture, second // 2)]).packets[0]
            feed.push([replace(packet, pts=at, dts=at)], 0)
            await wait_for(
                lambda: count("embedded") + count("settled") > before, timeout_s=10, what=f"the picture at {second} s"
            )

        running = asyncio.create_task(paths.run(feed))
        feed.begin(reference_picture.format)
        for second in range(0, 20, 2):
            await show(second, room_picture(portraits["astronaut"]))
        assert (count("embedded") - 1, count("settled")) == (embedded, 10 - embedded)
        for second in range(20, 26, 2):
            await show(second, room_picture(portraits["obama_official_portrait"]))
        await wait_for(lambda: incidents.seen, timeout_s=10, what="a sighting")
        # Counted from the first picture after the change.
        assert incidents.seen[0].stream_time_first == 20
        assert count("embedded") - 1 == embedded + 3
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        assert strangers.seen == 1
    finally:
        await pool.aclose()
