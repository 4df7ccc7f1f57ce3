"""Writes an incident's evidence: all of it or nothing, once."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from monitor.clock import Clock
from monitor.errors import EvidenceError, FrameLost
from monitor.evidence.manifest import CROP, FRAME, MANIFEST, REFERENCE, Circumstances, manifest_bytes, sha256
from monitor.faces.face import Box, EvidencePictures, PackInfo
from monitor.gallery.identity import Identity
from monitor.incidents.incident import Incident
from monitor.sightings.sighting import Sighting
from monitor.streams.packet import EncodedFrame
from monitor.streams.stream import Stream

log = logging.getLogger(__name__)


class Renderer(Protocol):
    """Draws evidence; the vision pool does."""

    async def render(self, frame: EncodedFrame, pts: int, box: Box, label: str) -> EvidencePictures:
        """The picture of ``frame`` at ``pts`` with ``box`` drawn, and the face alone.

        :raises FrameLost: it could not be decoded.
        """


class EvidenceRecorder:
    """Keeps ``<folder>/<incident id>/{frame.jpg,crop.jpg,reference.jpg,manifest.json}``.

    The files appear together, by one rename, after all of them are on disk. What is there is never changed.
    """

    def __init__(self, folder: Path, renderer: Renderer, clock: Clock, software_version: str) -> None:
        self._folder = folder
        self._renderer = renderer
        self._clock = clock
        self._software_version = software_version
        self._writer = asyncio.Lock()

    async def record(
        self,
        incident: Incident,
        stream: Stream,
        identity: Identity,
        sighting: Sighting,
        pack: PackInfo,
        gallery_digest: str,
    ) -> str:
        """Record the sighting's best sample as the evidence of ``incident``, unless it has evidence already.

        :returns: SHA-256 of the manifest that is on disk, as hex.
        :raises EvidenceError: the picture cannot be drawn or the files cannot be written.
        """
        folder = self._folder / incident.id
        present = await asyncio.to_thread(_manifest_digest, folder)
        if present is not None:
            return present
        files = await self._pictures(incident, identity, sighting)
        circumstances = Circumstances(
            pack=pack,
            gallery_digest=gallery_digest,
            software_version=self._software_version,
            recorded_at=self._clock.utc(),
        )
        manifest = await asyncio.to_thread(
            manifest_bytes,
            incident,
            stream=stream,
            identity=identity,
            sighting=sighting,
            files=files,
            circumstances=circumstances,
        )
        async with self._writer:
            digest = await asyncio.to_thread(_write, folder, files | {MANIFEST: manifest})
        log.info("evidence_recorded incident=%s manifest_sha256=%s", incident.id, digest)
        return digest

    async def _pictures(self, incident: Incident, identity: Identity, sighting: Sighting) -> dict[str, bytes]:
        best = sighting.best
        label = f"{identity.name} {best.match.best.similarity:.2f}"
        try:
            pictures = await self._renderer.render(best.frame, best.pts, best.box, label)
        except FrameLost as err:
            raise EvidenceError(f"evidence of incident {incident.id}: the picture was not drawn: {err}") from err
        return {
            FRAME: pictures.frame_jpeg,
            CROP: pictures.crop_jpeg,
            REFERENCE: best.match.best.reference.crop_jpeg,
        }


def _manifest_digest(folder: Path) -> str | None:
    """Digest of the manifest in ``folder``, None where nothing was recorded yet.

    :raises EvidenceError: there is a folder without a readable manifest.
    """
    try:
        return sha256((folder / MANIFEST).read_bytes())
    except FileNotFoundError as err:
        if folder.exists():
            raise EvidenceError(f"evidence folder {folder} has no {MANIFEST}: move the folder away") from err
        return None
    except OSError as err:
        raise EvidenceError(f"evidence folder {folder} cannot be read ({err.strerror}); check its rights") from err


def _write(folder: Path, files: Mapping[str, bytes]) -> str:
    present = _manifest_digest(folder)
    if present is not None:
        return present
    # A name of its own for each incident: what a killed process left is found and replaced by the next attempt.
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, content in files.items():
            _write_file(partial / name, content)
        _sync_folder(partial)
        partial.rename(folder)
        _sync_folder(folder.parent)
    except OSError as err:
        shutil.rmtree(partial, ignore_errors=True)
        raise EvidenceError(
            f"evidence folder {folder} cannot be written ({err.strerror}); free some space and give this user the "
            "right to write there"
        ) from err
    return sha256(files[MANIFEST])


def _write_file(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
