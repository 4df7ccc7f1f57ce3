"""Run by the kill test: opens and escalates incidents with evidence as fast as it can, and prints what is on disk."""

from __future__ import annotations

import asyncio
import random
import sys
from datetime import timedelta
from pathlib import Path

from prometheus_client import CollectorRegistry
from support.violations import PACK, make_identity, make_sighting, make_stream

from monitor.clock import ManualClock, SystemClock
from monitor.evidence import recorder as recording
from monitor.evidence.manifest import Findings
from monitor.evidence.metrics import EvidenceMetrics
from monitor.evidence.recorder import EvidenceRecorder
from monitor.faces.face import Box, EvidencePictures
from monitor.incidents.book import IncidentBook
from monitor.incidents.config import IncidentsConfig
from monitor.incidents.metrics import IncidentsMetrics
from monitor.sightings.presence import Presence
from monitor.storage.database import Database
from monitor.storage.incidents import SqlIncidentStore
from monitor.streams.packet import EncodedFrame

ROOMS = 4
# What a slow machine gives up on would be told without evidence, which is not what is looked for here.
recording.DRAW_WITHIN_S = recording.WRITE_WITHIN_S = 60.0


class Pencil:
    async def render(self, frame: EncodedFrame, pts: int, box: Box, label: str) -> EvidencePictures:
        return EvidencePictures(frame_jpeg=b"frame", crop_jpeg=b"crop")


async def main(folder: Path) -> None:
    database = Database(f"sqlite:///{folder}/monitor.db")
    await database.open()
    clock, registry, config = ManualClock(now=SystemClock().utc()), CollectorRegistry(), IncidentsConfig()
    store = SqlIncidentStore(database, receivers=["hook"], web_base_url="http://x")
    book = IncidentBook(store, config, clock, IncidentsMetrics(registry))
    await book.restore()
    recorder = EvidenceRecorder(folder / "evidence", Pencil(), clock, EvidenceMetrics(registry), "0.1.0")
    await recorder.clear()

    async def watch(room: str) -> None:
        stream, identity = make_stream(room), make_identity()
        sighting = make_sighting(presence=random.choice(list(Presence)))
        draft = None
        if book.wants_evidence(stream, identity, sighting):
            findings = Findings(
                stream=stream,
                identity=identity,
                sighting=sighting,
                pack=PACK,
                gallery_digest="e" * 64,
                shown=sighting.clearest_now,
            )
            draft = await recorder.draw(findings)
        incident = await book.observe(stream, identity, sighting, PACK, draft.write if draft else None)
        print(f"{incident.id} {len(incident.evidence)}", flush=True)

    print("ready", flush=True)
    while True:
        await asyncio.gather(*(watch(f"room-{number}") for number in range(ROOMS)))
        if random.random() < 0.5:
            unseen_s = config.close_after + 1
            clock.elapsed_s += unseen_s
            clock.now += timedelta(seconds=unseen_s)
            await book.tick()


asyncio.run(main(Path(sys.argv[1])))
