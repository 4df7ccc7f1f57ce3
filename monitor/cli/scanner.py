"""Finds protected people in one recording or image: the same faces, matches and evidence as the daemon's."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from monitor.errors import FrameLost, ImageRefused
from monitor.faces.face import Face, PackInfo, PictureFaces
from monitor.faces.images import MOST_BYTES
from monitor.faces.settled import spared
from monitor.gallery.identity import Match
from monitor.gallery.snapshot import GallerySnapshot
from monitor.sightings.config import SightingsConfig
from monitor.sightings.evidence import assess_match
from monitor.sightings.sequential_test import SequentialTest
from monitor.sightings.sighting import EvidenceVerdict
from monitor.sightings.tracker import Tracker, TrackUpdate
from monitor.streams.packet import EncodedFrame

SINGLE_FRAME = "single_frame"
"""The verdict on an image: one picture is all the evidence that there can be."""

_UNPROVEN = (EvidenceVerdict.TOO_FEW_SAMPLES, EvidenceVerdict.TOO_SHORT, EvidenceVerdict.WEAK_EVIDENCE)
_SAME_SIGHTING_S = 5.0
"""Sightings of one identity that are no further apart are reported as one: cuts end a track, not a presence."""


class Faces(Protocol):
    """The part of the VisionPool that scanning uses."""

    @property
    def pack(self) -> PackInfo: ...

    @property
    def workers(self) -> int: ...

    async def analyse(self, frame: EncodedFrame) -> tuple[PictureFaces, ...]: ...

    async def analyse_image(self, data: bytes) -> PictureFaces: ...


class Judge(Protocol):
    """Says what the permission rules make of a proven identity."""

    def __call__(self, identity_id: str) -> str: ...


@dataclass(slots=True, kw_only=True)
class Presence:
    """One identity over one stretch of a recording; times in stream seconds."""

    identity_id: str
    similarity: float
    margin: float
    first_seen: float
    last_seen: float
    frames: int
    face_height_px: float
    verdict: str
    shown_as: str | None = None
    """Presence in its most similar sighting; None without proof."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "identity": self.identity_id,
            "similarity": round(self.similarity, 4),
            "margin": round(self.margin, 4),
            "first_seen": round(self.first_seen, 3),
            "last_seen": round(self.last_seen, 3),
            "frames": self.frames,
            "face_height_px": round(self.face_height_px, 1),
            "verdict": self.verdict,
            "presence": self.shown_as,
        }


@dataclass(slots=True, kw_only=True)
class ScanResult:
    """What was found in one input."""

    seconds: float = 0.0
    """From the first to the last picture that was looked at."""
    frames: int = 0
    """Pictures looked at."""
    faces: int = 0
    sightings: list[Presence] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {
            "seconds": round(self.seconds, 3),
            "frames": self.frames,
            "faces": self.faces,
            "sightings": [presence.to_dict() for presence in self.sightings],
        }


class Scanner:
    """Scans one input after the other.

    :param judge: what to write as the verdict of a proven identity; None writes ``passed``.
    """

    def __init__(
        self,
        faces: Faces,
        gallery: GallerySnapshot,
        config: SightingsConfig,
        test: SequentialTest,
        judge: Judge | None = None,
    ) -> None:
        self._faces = faces
        self._gallery = gallery
        self._config = config
        self._test = test
        self._judge = judge

    async def image(self, path: Path) -> ScanResult:
        """Faces and matches of one image.

        :raises ImageRefused: it cannot be read, or is too large.
        """
        picture = await self._faces.analyse_image(await asyncio.to_thread(_read_image, path))
        result = ScanResult(frames=1, faces=len(picture.faces))
        matches = self._gallery.match_each([face.embedding for face in picture.faces])
        for face, match in zip(picture.faces, matches, strict=True):
            if match is not None and assess_match(match, self._faces.pack) is EvidenceVerdict.PASSED:
                result.sightings.append(_single(face, match))
        return result

    async def video(self, frames: AsyncIterator[EncodedFrame]) -> ScanResult:
        """Everything that the pictures of a recording prove, in all but those faces that the daemon would not compare
        either (``reembed_interval_s``).

        :raises StreamError: reading failed; FrameLost: not one picture could be decoded.
        """
        tally = _Tally(self._faces.pack)
        tracker = Tracker("scan", self._faces.pack, self._config, self._test)
        lost: FrameLost | None = None
        async for frame, analysed in self._analysed(frames):
            try:
                pictures = await analysed
            except FrameLost as err:
                lost = err
                continue
            for found in pictures:
                picture = spared(found, tracker.settled(frame))
                matches = self._gallery.match_each([face.embedding for face in picture.faces])
                tally.add(frame, picture, tracker.observe(frame, picture, matches))
        if lost is not None and not tally.result.frames:
            raise lost
        return tally.finish(self._judge)

    async def _analysed(
        self, frames: AsyncIterator[EncodedFrame]
    ) -> AsyncIterator[tuple[EncodedFrame, asyncio.Task[tuple[PictureFaces, ...]]]]:
        """Each frame with its analysis under way, in order, so that every worker has something to do."""
        pending: deque[tuple[EncodedFrame, asyncio.Task[tuple[PictureFaces, ...]]]] = deque()
        try:
            async for frame in frames:
                pending.append((frame, asyncio.create_task(self._faces.analyse(frame))))
                if len(pending) > self._faces.workers:
                    yield pending.popleft()
            while pending:
                yield pending.popleft()
        finally:
            for _, task in pending:
                task.cancel()


def _read_image(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise ImageRefused(f"the file has {size} bytes, at most {MOST_BYTES} are read")
        return path.read_bytes()
    except OSError as err:
        raise ImageRefused(f"cannot be read: {err.strerror}") from err


def _single(face: Face, match: Match) -> Presence:
    return Presence(
        identity_id=match.best.identity_id,
        similarity=match.best.similarity,
        margin=match.margin,
        first_seen=0.0,
        last_seen=0.0,
        frames=1,
        face_height_px=face.box.height,
        verdict=SINGLE_FRAME,
    )


class _Tally:
    """Adds up what the tracker says of one recording."""

    def __init__(self, pack: PackInfo) -> None:
        self._pack = pack
        self.result = ScanResult()
        self._began: float | None = None
        self._ended = 0.0
        self._proven: dict[str, Presence] = {}
        self._unproven: dict[str, Presence] = {}

    def add(self, frame: EncodedFrame, picture: PictureFaces, updates: list[TrackUpdate]) -> None:
        stream_time = float(picture.pts * frame.format.time_base)
        self._began = stream_time if self._began is None else min(self._began, stream_time)
        self._ended = max(self._ended, stream_time)
        self.result.frames += 1
        self.result.faces += len(picture.faces)
        embedded = [face for face in picture.faces if face.embedding is not None]
        for update, face in zip(updates, embedded, strict=False):  # a picture that was seen before has no updates
            sighting = update.sighting
            if sighting is not None:
                self._proven[sighting.id] = Presence(
                    identity_id=sighting.identity_id,
                    similarity=sighting.best.match.best.similarity,
                    margin=sighting.best.match.margin,
                    first_seen=sighting.stream_time_first,
                    last_seen=sighting.stream_time_last,
                    frames=sighting.samples_matched,
                    face_height_px=sighting.best.box.height,
                    verdict=EvidenceVerdict.PASSED,
                    shown_as=sighting.presence,
                )
            elif update.match is not None and update.verdict in _UNPROVEN:
                self._suspect(update.match, update.verdict, stream_time, face)

    def _suspect(self, match: Match, verdict: EvidenceVerdict, stream_time: float, face: Face) -> None:
        # The verdict is the track's: this picture may match nobody, and resemble somebody else a little.
        if assess_match(match, self._pack) is not EvidenceVerdict.PASSED:
            return
        identity_id = match.best.identity_id
        before = self._unproven.get(identity_id)
        self._unproven[identity_id] = Presence(
            identity_id=identity_id,
            similarity=max(match.best.similarity, before.similarity if before else -1.0),
            margin=max(match.margin, before.margin if before else -1.0),
            first_seen=before.first_seen if before else stream_time,
            last_seen=stream_time,
            frames=before.frames + 1 if before else 1,
            face_height_px=max(face.box.height, before.face_height_px if before else 0.0),
            verdict=verdict,
        )

    def finish(self, judge: Judge | None) -> ScanResult:
        """The result, times counted from the first picture, neighbouring sightings of one identity joined."""
        began = self._began or 0.0
        self.result.seconds = self._ended - began
        proven = {presence.identity_id for presence in self._proven.values()}
        rest = [presence for presence in self._unproven.values() if presence.identity_id not in proven]
        joined = _joined(sorted(self._proven.values(), key=lambda presence: presence.first_seen))
        for presence in (*joined, *rest):
            presence.first_seen -= began
            presence.last_seen -= began
            if judge is not None and presence.verdict == EvidenceVerdict.PASSED:
                presence.verdict = judge(presence.identity_id)
            self.result.sightings.append(presence)
        return self.result


def _joined(presences: list[Presence]) -> list[Presence]:
    joined: list[Presence] = []
    for presence in presences:
        before = next((one for one in reversed(joined) if one.identity_id == presence.identity_id), None)
        if before is None or presence.first_seen - before.last_seen > _SAME_SIGHTING_S:
            joined.append(presence)
            continue
        if presence.similarity > before.similarity:
            before.similarity, before.margin = presence.similarity, presence.margin
            before.face_height_px = presence.face_height_px
            before.shown_as = presence.shown_as
        before.last_seen = max(before.last_seen, presence.last_seen)
        before.frames += presence.frames
    return joined
