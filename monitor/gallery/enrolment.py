"""Turns photos into references, or into refusals that say what was measured and what is needed."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from monitor.errors import FrameLost, ImageRefused, StorageError
from monitor.faces.face import Box, Embedding, Face, PackInfo, PictureFaces
from monitor.gallery.config import GalleryConfig
from monitor.gallery.folder import FileStamp, GalleryFile, read_photo
from monitor.gallery.identity import Reference, RefusalReason, RefusedPhoto
from monitor.gallery.store import ReferenceStore, StoredReference

log = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]
"""Called with photos done, photos in all, and ``identity/photo`` of one just done."""

# A photo whose analysis is lost this often is at fault itself; it waits until its file changes.
_MAX_ATTEMPTS = 5


class FaceAnalyser(Protocol):
    """What enrolment needs from the vision workers."""

    @property
    def pack(self) -> PackInfo:
        """The loaded pack."""

    async def analyse_image(self, data: bytes) -> PictureFaces:
        """All faces of an image file.

        :raises ImageRefused: the file cannot be decoded.
        :raises FrameLost: the worker died or was too slow.
        """

    async def crop_image(self, data: bytes, box: Box) -> bytes:
        """JPEG of the face at ``box`` with some surroundings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a photo is not accepted, with what was measured and what is needed."""

    reason: RefusalReason
    detail: str


def judge_picture(picture: PictureFaces, config: GalleryConfig) -> Face | Refusal:
    """The one face of a photo, or why the photo cannot stand for a person.

    Specks in the background, too small for a reference and too poor to be compared, do not count beside a real face.
    """
    by_height = sorted(picture.faces, key=lambda face: -face.box.height)
    counted = [face for face in by_height if face.embedding is not None or face.box.height >= config.min_face_px]
    if len(counted) > 1:
        heights = ", ".join(f"{face.box.height:.0f}" for face in counted)
        return Refusal(
            reason=RefusalReason.SEVERAL_FACES,
            detail=f"{len(counted)} faces found ({heights} px high), exactly one needed; cut the others off",
        )
    if not by_height:
        return Refusal(
            reason=RefusalReason.NO_FACE,
            detail=f"no face found in {picture.width} x {picture.height} px, exactly one needed",
        )
    face = (counted or by_height)[0]
    refusal = judge_measurements(face.box.height, face.quality.sharpness, config)
    if refusal is None and face.embedding is None:
        return Refusal(reason=RefusalReason.NO_FACE, detail=_poor(face))
    return refusal or face


def _poor(face: Face) -> str:
    clarity = "" if face.quality.clarity is None else f", clarity {face.quality.clarity:.2f}"
    return (
        f"the only face is too poor to compare (det_score {face.det_score:.2f}, sharpness "
        f"{face.quality.sharpness:.0f}, brightness {face.quality.brightness:.0f} of 255{clarity}); a clear, evenly lit "
        "view from the front is needed"
    )


def judge_measurements(face_height_px: float, sharpness: float, config: GalleryConfig) -> Refusal | None:
    """Whether a face is large and sharp enough."""
    if face_height_px < config.min_face_px:
        return Refusal(
            reason=RefusalReason.FACE_TOO_SMALL,
            detail=f"face is {face_height_px:.0f} px high, at least {config.min_face_px:.0f} needed",
        )
    if sharpness < config.min_sharpness:
        return Refusal(
            reason=RefusalReason.BLURRED,
            detail=f"face has sharpness {sharpness:.0f}, at least {config.min_sharpness:.0f} needed",
        )
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A photo as it was when it was examined."""

    stamp: FileStamp
    outcome: Reference | RefusedPhoto
    attempts: int
    """How often its analysis was lost; 0 where the outcome is certain."""

    def stands(self, photo: GalleryFile) -> bool:
        return self.stamp.still_holds(photo.stamp) and (self.attempts == 0 or self.attempts >= _MAX_ATTEMPTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What ``Enrolment`` is to do."""

    photos: Sequence[GalleryFile]
    due: deque[GalleryFile]
    gone: Sequence[tuple[str, str]]
    """Identities and names of photos that were there before."""


class Enrolment:
    """Enrols photos, a few at a time; reads and measures only those that changed.

    ``begin``, then ``survey``, ``follow`` and ``advance`` in turn while it is ``busy``, then ``halt``. What looks at
    every photo (``survey``, ``outcomes``, ``undecided``) may run in another thread while photos are being examined.
    """

    def __init__(self, analyser: FaceAnalyser, store: ReferenceStore, config: GalleryConfig) -> None:
        self._analyser = analyser
        self._store = store
        self._config = config
        self._known: dict[tuple[str, str], _Known] = {}
        self._stored: dict[str, StoredReference] | None = None
        self._kept: Mapping[str, None] | None = None
        self._photos: Sequence[GalleryFile] = ()
        self._due: deque[GalleryFile] = deque()
        self._begun: dict[tuple[str, str], FileStamp] = {}
        self._examining: dict[asyncio.Task[None], GalleryFile] = {}

    async def begin(self) -> None:
        """Before each sync: what changed, and what cannot be told from having changed, is looked at once more.

        :raises StorageError: the stored embeddings cannot be read.
        """
        if self._stored is None:
            self._stored = await self._load()
        self._begun = {}

    def survey(self, photos: Sequence[GalleryFile]) -> Plan:
        """What there is to do if ``photos`` are all that there are now. Changes nothing; for another thread."""
        count = sum(_key(photo) in self._known for photo in photos)
        gone: list[tuple[str, str]] = []
        if count < len(self._known) or self._begun:
            # A dict of strings alone is nothing that the garbage collector walks through.
            present = dict.fromkeys(_path(*_key(photo)) for photo in photos)
            gone = [
                key for keys in (list(self._known), list(self._begun)) for key in keys if _path(*key) not in present
            ]
        return Plan(photos=photos, due=deque(photo for photo in photos if self._is_due(photo)), gone=gone)

    def follow(self, plan: Plan) -> None:
        """Examine from now on what ``plan`` says, also while earlier photos are being examined."""
        self._photos, self._due = plan.photos, plan.due
        for key in plan.gone:
            self._known.pop(key, None)
            self._begun.pop(key, None)

    @property
    def busy(self) -> bool:
        """Whether ``advance`` has something to do."""
        return bool(self._due or self._examining)

    async def advance(self, for_s: float, progress: Progress | None = None) -> None:
        """Examine photos until none is due, or for ``for_s`` seconds; what is under way then goes on."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + for_s
        while self.busy and (left := deadline - loop.time()) > 0:
            while self._due and len(self._examining) < self._config.enrolments_at_once:
                photo = self._due.popleft()
                self._begun[_key(photo)] = photo.stamp
                self._examining[asyncio.create_task(self._examine(photo))] = photo
            done, _ = await asyncio.wait(self._examining, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                photo = self._examining.pop(task)
                task.result()
                if progress is not None:
                    rest = len(self._due) + len(self._examining)
                    progress(max(0, len(self._photos) - rest), len(self._photos), f"{photo.identity_id}/{photo.name}")

    async def halt(self) -> None:
        """Give up what is under way; nothing is after a sync that ended well."""
        examining, self._examining = self._examining, {}
        for task in examining:
            task.cancel()
        await asyncio.gather(*examining, return_exceptions=True)

    @property
    def similarity_threshold(self) -> float:
        """The pack's cosine from which a face counts as the identity."""
        return self._analyser.pack.similarity_threshold

    def outcomes(self) -> Iterator[Reference | RefusedPhoto]:
        """What is known of the planned photos, in their order; a changed photo counts as it was."""
        for photo in self._photos:
            known = self._known.get(_key(photo))
            if known is not None:
                yield known.outcome

    def age(self, reference: Reference) -> tuple[int, tuple[str, str]]:
        """Sorts what ``outcomes`` returned by the age of the file, the oldest first, then by name."""
        key = reference.identity_id, reference.photo
        return self._known[key].stamp.mtime_ns, key

    def undecided(self) -> frozenset[str]:
        """The identities with planned photos that were never looked at."""
        return frozenset(photo.identity_id for photo in self._photos if _key(photo) not in self._known)

    async def forget_others(self, accepted: Iterable[Reference]) -> None:
        """Delete the stored embeddings of every photo that is not among ``accepted``.

        A database that refuses is logged, and asked again at the next call.
        """
        wanted = await asyncio.to_thread(self._newly_wanted, accepted)
        if wanted is None:
            return
        stored = self._stored or {}
        for gone in await asyncio.to_thread(lambda: [sha256 for sha256 in stored if sha256 not in wanted]):
            del stored[gone]
        try:
            deleted = await self._store.keep_only(wanted)
        except StorageError as err:
            log.error("gallery_embeddings_not_deleted detail=%s", err)
            return
        self._kept = wanted
        if deleted:
            log.info("gallery_embeddings_deleted rows=%d", deleted)

    def _newly_wanted(self, accepted: Iterable[Reference]) -> Mapping[str, None] | None:
        """The photos of ``accepted``; None if the store was told to keep just these."""
        wanted = dict.fromkeys(reference.photo_sha256 for reference in accepted)
        kept = self._kept
        same = kept is not None and len(kept) == len(wanted) and all(sha256 in kept for sha256 in wanted)
        return None if same else wanted

    async def _load(self) -> dict[str, StoredReference]:
        pack = self._analyser.pack
        rows = await self._store.load(pack.digest)
        return await asyncio.to_thread(
            lambda: {
                row.photo_sha256: row
                for row in rows
                if row.pack_digest == pack.digest and row.embedding.shape == (pack.dimension,)
            }
        )

    def _is_due(self, photo: GalleryFile) -> bool:
        known = self._known.get(_key(photo))
        return self._begun.get(_key(photo)) != photo.stamp and not (known is not None and known.stands(photo))

    async def _examine(self, photo: GalleryFile) -> None:
        known = self._known.get(_key(photo))
        attempts = 0
        outcome: Reference | RefusedPhoto
        try:
            data, sha256 = await asyncio.to_thread(read_photo, photo, self._config.max_photo_bytes)
            outcome = await self._outcome(photo, data, sha256)
        except ImageRefused as err:
            outcome = _refused(photo, Refusal(reason=RefusalReason.UNREADABLE, detail=str(err)))
        except FrameLost as err:
            attempts = 1 + (known.attempts if known is not None and known.stamp == photo.stamp else 0)
            again = "will be tried again" if attempts < _MAX_ATTEMPTS else "will be tried again when the file changes"
            detail = f"the analysis was lost {attempts} times ({err}), {again}"
            outcome = _refused(photo, Refusal(reason=RefusalReason.UNREADABLE, detail=detail))
        # Otherwise it went or changed meanwhile.
        if self._begun.get(_key(photo)) == photo.stamp:
            self._known[_key(photo)] = _Known(stamp=photo.stamp, outcome=outcome, attempts=attempts)

    async def _outcome(self, photo: GalleryFile, data: bytes, sha256: str) -> Reference | RefusedPhoto:
        assert self._stored is not None
        row = self._stored.get(sha256)
        if row is None:
            measured = await self._measure(data, sha256)
            if isinstance(measured, Refusal):
                return _refused(photo, measured)
            row = self._stored[sha256] = measured
            await self._put(row)
        elif refusal := judge_measurements(row.face_height_px, row.sharpness, self._config):
            return _refused(photo, refusal)
        return Reference(
            identity_id=photo.identity_id,
            photo=photo.name,
            photo_sha256=sha256,
            pack_digest=row.pack_digest,
            embedding=row.embedding,
            crop_jpeg=row.crop_jpeg,
            face_height_px=row.face_height_px,
            look_alike=photo.look_alike,
        )

    async def _measure(self, data: bytes, sha256: str) -> StoredReference | Refusal:
        judged = judge_picture(await self._analyser.analyse_image(data), self._config)
        if isinstance(judged, Refusal):
            return judged
        assert judged.embedding is not None
        return StoredReference(
            photo_sha256=sha256,
            pack_digest=self._analyser.pack.digest,
            embedding=_frozen(judged.embedding),
            crop_jpeg=await self._analyser.crop_image(data, judged.box),
            face_height_px=judged.box.height,
            sharpness=judged.quality.sharpness,
        )

    async def _put(self, row: StoredReference) -> None:
        # Whatever becomes of the photo, the row is to be looked at when the sync ends.
        self._kept = None
        try:
            await self._store.put(row)
        except StorageError as err:
            # The person is protected all the same; only the next start has to measure the photo again.
            log.error("gallery_embedding_not_stored photo_sha256=%s detail=%s", row.photo_sha256, err)


def _key(photo: GalleryFile) -> tuple[str, str]:
    return photo.identity_id, photo.name


def _path(identity_id: str, name: str) -> str:
    return f"{identity_id}/{name}"


def _refused(photo: GalleryFile, refusal: Refusal) -> RefusedPhoto:
    return RefusedPhoto(identity_id=photo.identity_id, photo=photo.name, reason=refusal.reason, detail=refusal.detail)


def _frozen(embedding: Embedding) -> Embedding:
    copy = embedding.copy()
    copy.flags.writeable = False
    return copy
