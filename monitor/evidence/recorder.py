"""Draws and writes an incident's evidence. What fails is told and counted here; an alert never waits long for it."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from pathlib import Path
from typing import Protocol

from monitor.clock import Clock
from monitor.errors import EvidenceError, FrameLost
from monitor.evidence.folder import Written, remove_partial, write_once
from monitor.evidence.manifest import CROP, FRAME, MANIFEST, REFERENCE, Findings, manifest_bytes, sha256
from monitor.evidence.metrics import EvidenceFailure, EvidenceMetrics
from monitor.faces.face import Box, EvidencePictures
from monitor.incidents.incident import EvidenceRecord, Incident
from monitor.sightings.presence import Presence
from monitor.streams.packet import EncodedFrame

log = logging.getLogger(__name__)

DRAW_TRIES = 3
"""A worker that dies takes the pictures in its hands with it, whoever's fault it was."""
DRAW_WITHIN_S = 2.0
WRITE_WITHIN_S = 2.0


class Renderer(Protocol):
    """Draws evidence; the vision pool does."""

    async def render(self, frame: EncodedFrame, pts: int, box: Box, label: str) -> EvidencePictures:
        """The picture of ``frame`` at ``pts`` with ``box`` drawn, and the face alone.

        :raises FrameLost: it could not be decoded.
        """


class EvidenceRecorder:
    """Keeps ``<folder>/<incident id>/{frame.jpg,crop.jpg,reference.jpg,manifest.json}``.

    Evidence of the same incident shown more prominently, as :class:`monitor.sightings.presence.Presence` says, lies
    beside it in ``<incident id>-<presence>``; what there was before is never touched.

    The files appear before their incident does. A process that is killed in between leaves a folder that no incident
    refers to; it stays, because a database that was begun anew or put back from a copy would look the same.
    """

    def __init__(
        self, folder: Path, renderer: Renderer, clock: Clock, metrics: EvidenceMetrics, software_version: str
    ) -> None:
        self._folder = folder
        self._renderer = renderer
        self._clock = clock
        self._metrics = metrics
        self._software_version = software_version

    async def clear(self) -> None:
        """Remove what a killed process left half written; before anything is recorded."""
        await asyncio.to_thread(remove_partial, self._folder)

    async def draw(self, findings: Findings) -> Draft | None:
        """The pictures of the sample that is to be shown, to be written for its incident; None if drawing failed."""
        try:
            async with asyncio.timeout(DRAW_WITHIN_S):
                return Draft(self, findings, await self._pictures(findings))
        except FrameLost as err:
            self._failed(EvidenceFailure.NOT_DRAWN, findings, err)
        except TimeoutError:
            self._failed(EvidenceFailure.TIMED_OUT, findings, f"not drawn within {DRAW_WITHIN_S:g} s")
        return None

    async def put(self, incident: Incident, findings: Findings, pictures: EvidencePictures) -> Written | None:
        """Write the evidence of ``incident``, unless it is there already; None if that failed."""
        try:
            async with asyncio.timeout(WRITE_WITHIN_S):
                return await asyncio.to_thread(self._put, incident, findings, pictures)
        except EvidenceError as err:
            self._failed(EvidenceFailure.NOT_WRITTEN, findings, err)
        except TimeoutError:
            self._failed(EvidenceFailure.TIMED_OUT, findings, f"not written within {WRITE_WITHIN_S:g} s")
        return None

    async def _pictures(self, findings: Findings) -> EvidencePictures:
        shown = findings.shown
        label = f"{findings.identity.name} {shown.match.best.similarity:.2f}"
        for _ in range(DRAW_TRIES - 1):
            try:
                return await self._renderer.render(shown.frame, shown.pts, shown.box, label)
            except FrameLost as err:
                log.warning("evidence_drawn_again stream=%s reason=%s", findings.stream.id, err.reason)
        return await self._renderer.render(shown.frame, shown.pts, shown.box, label)

    def _put(self, incident: Incident, findings: Findings, pictures: EvidencePictures) -> Written:
        files = {
            FRAME: pictures.frame_jpeg,
            CROP: pictures.crop_jpeg,
            REFERENCE: findings.shown.match.best.reference.crop_jpeg,
        }
        manifest = manifest_bytes(
            incident,
            findings,
            files=files,
            software_version=self._software_version,
            recorded_at=self._clock.utc(),
        )
        folder = self._folder / incident.next_evidence_folder(findings.sighting.presence)
        return write_once(folder, files | {MANIFEST: manifest})

    def _failed(self, reason: EvidenceFailure, findings: Findings, error: object) -> None:
        self._metrics.failures.labels(reason).inc()
        log.error(
            "evidence_not_recorded stream=%s identity=%s reason=%s error=%s next_try=next_sample",
            findings.stream.id,
            findings.identity.id,
            reason,
            error,
        )


class Draft:
    """Drawn evidence that waits for its incident."""

    def __init__(self, recorder: EvidenceRecorder, findings: Findings, pictures: EvidencePictures) -> None:
        self._recorder = recorder
        self._findings = findings
        self._pictures = pictures
        self._written: Written | None = None

    async def write(self, incident: Incident) -> EvidenceRecord | None:
        """Write it as the evidence of ``incident``.

        :returns: what is on disk, which may be what an earlier attempt wrote that was given up on for its slowness;
            None if that failed.
        """
        self._written = written = await self._recorder.put(incident, self._findings, self._pictures)
        if written is None:
            return None
        return EvidenceRecord(
            folder=written.folder.name,
            manifest_sha256=sha256(written.manifest),
            presence=Presence(json.loads(written.manifest)["sighting"]["presence"]),
        )

    async def discard(self) -> None:
        """Remove what ``write`` wrote: nothing that was committed refers to it."""
        if self._written is not None and self._written.new:
            await asyncio.to_thread(shutil.rmtree, self._written.folder, ignore_errors=True)
