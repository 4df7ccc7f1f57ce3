"""Follows the faces of one stream from picture to picture and says what is proven."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from monitor.faces.face import Embedding, Face, PackInfo, PictureFaces, Settled
from monitor.gallery.identity import Match
from monitor.sightings.config import SightingsConfig
from monitor.sightings.evidence import assess_match
from monitor.sightings.presence import Rival, View
from monitor.sightings.sequential_test import SequentialTest
from monitor.sightings.sighting import RESEMBLES_NOBODY, EvidenceVerdict, Sample, Sighting
from monitor.sightings.track import Appearance, Track, burst_step, similarity
from monitor.streams.packet import EncodedFrame

SAME_FACE = 0.35
"""Cosine under which two consecutive embeddings are another person, or another scene."""

_MAX_TRACKS = 64
_PICTURES_REMEMBERED = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackUpdate:
    """What one face of one picture brought."""

    track_id: int
    """Unique within the tracker."""
    verdict: EvidenceVerdict
    """Before a sighting: what the track proves so far. Since then: ``passed`` where this picture extends it, else why
    it does not."""
    match: Match | None
    """This picture's comparison; None where the gallery has nobody."""
    sighting: Sighting | None
    """The sighting with this picture in it; None where nothing is proven, or this picture adds nothing."""
    begun: bool
    """``sighting`` is handed out for the first time."""


class Tracker:
    """The tracks of one stream. Belongs to one task; nothing in it waits."""

    def __init__(self, stream_id: str, pack: PackInfo, config: SightingsConfig, test: SequentialTest) -> None:
        self._stream_id = stream_id
        self._pack = pack
        self._config = config
        self._test = test
        self._epoch = -1
        self._tracks: list[Track] = []
        self._next_id = 1
        self._pictures: deque[float] = deque(maxlen=_PICTURES_REMEMBERED)
        self._newest = 0.0
        self._luma = b""
        self._strangers: deque[Embedding] = deque(maxlen=_MAX_TRACKS)

    def observe(self, frame: EncodedFrame, picture: PictureFaces, matches: Sequence[Match | None]) -> list[TrackUpdate]:
        """Take one analysed picture; pictures of an epoch may come in any order.

        :param frame: what was analysed; kept only while a face in it may become evidence.
        :param picture: one picture of ``frame``.
        :param matches: for each face of ``picture`` its match; None for faces without an embedding.
        :returns: an update for each face that has an embedding, in the picture's order; nothing for a picture that
            was observed before or belongs to an epoch that is over. Faces that were spared as :meth:`settled` only keep
            their tracks alive. Of several faces that prove the same identity
            only the one that is present most severely, then with the highest similarity, carries the sighting.
        """
        if len(matches) != len(picture.faces):
            raise ValueError(f"{len(matches)} matches for {len(picture.faces)} faces, expected one each")
        stream_time = float(picture.pts * frame.format.time_base)
        if not self._is_new(frame.epoch, stream_time):
            return []
        if stream_time == self._newest:
            self._luma = picture.luma
        seen_again = self._see_again(stream_time, picture.faces)
        compared = [(face, match) for face, match in zip(picture.faces, matches, strict=True) if _usable(face)]
        appearances = [_appearance(stream_time, face) for face, _ in compared]
        tracks = self._assign(stream_time, appearances, seen_again)
        updates = []
        for track, (face, match) in zip(tracks, compared, strict=True):
            sample = self._sample(frame, picture, face, match)
            verdict = track.compared(stream_time, match, sample)
            proven = track.sighting if verdict is EvidenceVerdict.PASSED else None
            updates.append(TrackUpdate(track_id=track.id, verdict=verdict, match=match, sighting=proven, begun=False))
        return self._announce(tracks, _one_sighting_each(updates))

    def settled(self, frame: EncodedFrame) -> Settled | None:
        """The faces that need not be embedded in ``frame``, the next to be observed; None if there are none."""
        if frame.epoch != self._epoch:
            return None
        faces = tuple(face for track in self._tracks for face in track.settled(frame.stream_time))
        return Settled(faces=faces, luma=self._luma) if faces else None

    def burst_wanted(self) -> tuple[float, ...]:
        """Stream times, of the current epoch, at which one more picture would decide a candidate; most wanted first.

        Empty when nothing is undecided. Times that were observed, or that the stream left behind, are not asked for
        again, and a candidate is given up after ``burst_samples``.
        """
        step = burst_step(self._config)
        wanted: list[float] = []
        for track in self._tracks:
            for moment in track.burst_wanted():
                known = any(abs(moment - other) < step / 4 for other in (*self._pictures, *wanted))
                if not known and moment >= max(0.0, self._newest - 1.5 * step):
                    wanted.append(moment)
        return tuple(wanted)

    def end(self) -> None:
        """The stream is over, and with it every track."""
        self._forget(self._tracks)

    def take_strangers(self) -> list[Embedding]:
        """One embedding of each face that left since the last call and never resembled anybody protected."""
        taken = list(self._strangers)
        self._strangers.clear()
        return taken

    def _forget(self, tracks: Sequence[Track]) -> None:
        self._strangers.extend(track.stranger for track in tracks if track.stranger is not None)
        self._tracks = [track for track in self._tracks if track not in tracks]

    def _is_new(self, epoch: int, stream_time: float) -> bool:
        """Whether the picture is to be looked at; forgets the tracks that are over."""
        if epoch < self._epoch:
            return False
        # No burst looks back this far: the stream's clock was set back, or once ran ahead by mistake.
        set_back = stream_time < self._newest - self._config.track_lost_after_s - 3 * burst_step(self._config)
        if epoch > self._epoch or set_back:
            self._epoch = epoch
            self._forget(self._tracks)
            self._pictures.clear()
            self._newest = stream_time
        if stream_time in self._pictures:
            return False
        self._pictures.append(stream_time)
        self._newest = max(self._newest, stream_time)
        alive_since = self._newest - self._config.track_lost_after_s
        self._forget([track for track in self._tracks if track.last_seen < alive_since])
        return True

    def _see_again(self, stream_time: float, faces: Sequence[Face]) -> set[Track]:
        """The tracks of the faces that were settled, moved to where those are now."""
        tracks = {track.id: track for track in self._tracks}
        found = set()
        for face in faces:
            track = tracks.get(face.settled) if face.settled is not None else None
            if track is not None:
                track.appear_settled(stream_time, face.box)
                found.add(track)
        return found

    def _assign(
        self, stream_time: float, appearances: Sequence[Appearance], seen_again: Collection[Track]
    ) -> list[Track]:
        """Add each appearance to its track, none of which was ``seen_again`` elsewhere in the picture; the best pairs
        first, and new tracks for what is left."""
        tracks = [track for track in self._tracks if track not in seen_again]
        near = [track.appearance_near(stream_time) for track in tracks]
        pairs = sorted(_pairs(near, appearances), reverse=True)
        assigned: dict[int, Track] = {}
        taken: set[int] = set()
        for _, row, column in pairs:
            if row not in taken and column not in assigned:
                taken.add(row)
                assigned[column] = tracks[row]
                assigned[column].appear(appearances[column])
        return [assigned.get(column) or self._new_track(one) for column, one in enumerate(appearances)]

    def _new_track(self, first: Appearance) -> Track:
        track = Track(self._next_id, self._stream_id, self._config, self._pack, self._test)
        track.appear(first)
        self._next_id += 1
        if len(self._tracks) >= _MAX_TRACKS:
            self._tracks.remove(min(self._tracks, key=_worth))
        self._tracks.append(track)
        return track

    def _sample(self, frame: EncodedFrame, picture: PictureFaces, face: Face, match: Match | None) -> Sample | None:
        """The comparison with its picture; None, so that nothing is kept, for a face that resembles nobody."""
        if match is None or assess_match(match, self._pack) in RESEMBLES_NOBODY:
            return None
        return Sample(
            stream_time=float(picture.pts * frame.format.time_base),
            utc=_received_at(frame, picture.pts),
            box=face.box,
            match=match,
            frame=frame,
            pts=picture.pts,
            picture_width=picture.width,
            picture_height=picture.height,
            view=_view(picture, face),
        )

    def _announce(self, tracks: Sequence[Track], updates: Sequence[TrackUpdate]) -> list[TrackUpdate]:
        marked = []
        for track, update in zip(tracks, updates, strict=True):
            begun = update.sighting is not None and not track.announced
            track.announced = track.announced or begun
            marked.append(replace(update, begun=begun))
        return marked


def _usable(face: Face) -> bool:
    return face.embedding is not None


def _appearance(stream_time: float, face: Face) -> Appearance:
    assert face.embedding is not None
    return Appearance(
        stream_time=stream_time,
        box=face.box,
        embedding=face.embedding,
        quality=face.quality,
        grid=face.grid,
        embedded_at=stream_time,
    )


def _view(picture: PictureFaces, face: Face) -> View:
    highest = max((one for one in picture.faces if one is not face), key=lambda one: one.box.height, default=None)
    return View(
        box=face.box,
        picture_height=picture.height,
        rival=None if highest is None else Rival(box=highest.box, grid=highest.grid),
        inset=face.inset,
        quality=face.quality.value,
        grid=face.grid,
    )


def _pairs(before: Sequence[Appearance], now: Sequence[Appearance]) -> list[tuple[float, int, int]]:
    """(cosine plus box overlap, row of ``before``, row of ``now``) of every pair that may be one face."""
    if not before or not now:
        return []
    cosines = np.stack([one.embedding for one in before]) @ np.stack([one.embedding for one in now]).T
    return [
        (float(cosines[row, column]) + before[row].box.overlap(now[column].box), int(row), int(column))
        for row, column in zip(*np.nonzero(cosines >= SAME_FACE), strict=True)
    ]


def _worth(track: Track) -> tuple[bool, float]:
    return track.sighting is not None, track.last_seen


def _one_sighting_each(updates: Sequence[TrackUpdate]) -> list[TrackUpdate]:
    """Keep, of the sightings of one identity, the most severely present one, then that of the highest similarity."""
    best: dict[str, TrackUpdate] = {}
    for update in updates:
        if update.sighting is None:
            continue
        rival = best.get(update.sighting.identity_id)
        if rival is None or rival.sighting is None or _severity(update.sighting) > _severity(rival.sighting):
            best[update.sighting.identity_id] = update
    return [
        update
        if update.sighting is None or best[update.sighting.identity_id] is update
        else replace(update, sighting=None)
        for update in updates
    ]


def _severity(sighting: Sighting) -> tuple[int, float]:
    return sighting.presence.strength, similarity(sighting.best)


def _received_at(frame: EncodedFrame, pts: int) -> datetime:
    """UTC at which the packet of the picture arrived; of the last one if no packet says that time."""
    return next((packet.received_at for packet in frame.packets if packet.pts == pts), frame.received_at)
