"""Looks at the photos of an evaluation and builds its galleries, by the rules of the real enrolment."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import numpy as np

from monitor.errors import FrameLost, ImageRefused
from monitor.evaluation.album import Photo
from monitor.evaluation.outcome import Skipped
from monitor.evaluation.plan import Round
from monitor.evaluation.studio import Sitter
from monitor.faces.face import PackInfo, PictureFaces
from monitor.faces.images import decode_image
from monitor.gallery.config import GalleryConfig
from monitor.gallery.enrolment import Refusal, judge_picture
from monitor.gallery.identity import Consent, Identity, Reference
from monitor.gallery.snapshot import GallerySnapshot


class Images(Protocol):
    """The part of the VisionPool that is used here."""

    @property
    def pack(self) -> PackInfo: ...

    @property
    def workers(self) -> int: ...

    async def analyse_image(self, data: bytes) -> PictureFaces: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """The photos that could be read, by key, and those that could not."""

    faces: Mapping[str, PictureFaces] = field(repr=False)
    skipped: tuple[Skipped, ...]


async def examine(photos: Sequence[Photo], images: Images, done: Callable[[], None]) -> Examined:
    """Find and embed the faces of all ``photos``, a few at a time."""
    faces: dict[str, PictureFaces] = {}
    skipped: list[Skipped] = []
    room = asyncio.Semaphore(images.workers + 1)

    async def one(photo: Photo) -> None:
        async with room:
            try:
                faces[photo.key] = await images.analyse_image(await asyncio.to_thread(photo.read))
            except (ImageRefused, FrameLost) as err:
                skipped.append(Skipped(what=photo.key, why=str(err)))
            done()

    async with asyncio.TaskGroup() as tasks:
        for photo in photos:
            tasks.create_task(one(photo))
    return Examined(faces=faces, skipped=tuple(sorted(skipped, key=lambda one: one.what)))


def sitter(photo: Photo, picture: PictureFaces) -> Sitter | None:
    """The photo's tallest face, decoded; None without one. Blocking.

    :raises ImageRefused: the file changed since it was examined.
    """
    if not picture.faces:
        return None
    face = max(picture.faces, key=lambda face: face.box.height)
    return Sitter(picture=decode_image(photo.read()), box=face.box, landmarks=np.asarray(face.landmarks, np.float64))


def enrolled(
    plan: Round, examined: Examined, pack: PackInfo, config: GalleryConfig
) -> tuple[GallerySnapshot, tuple[Skipped, ...]]:
    """The gallery of one round, and the photos that enrolment refused."""
    references: list[Reference] = []
    skipped: list[Skipped] = []
    for photo in plan.enrolled:
        picture = examined.faces.get(photo.key)
        if picture is None:
            continue
        judged = judge_picture(picture, config)
        if isinstance(judged, Refusal):
            skipped.append(Skipped(what=photo.key, why=f"not enrolled: {judged.detail}"))
            continue
        assert judged.embedding is not None
        references.append(
            Reference(
                identity_id=photo.identity,
                photo=photo.name,
                photo_sha256=hashlib.sha256(photo.key.encode()).hexdigest(),
                pack_digest=pack.digest,
                embedding=judged.embedding,
                crop_jpeg=b"",
                face_height_px=judged.box.height,
            )
        )
    identities = {reference.identity_id: _identity(reference.identity_id) for reference in references}
    return GallerySnapshot.build(identities, references, refused=(), errors=()), tuple(skipped)


def _identity(identity_id: str) -> Identity:
    consent = Consent(basis="evaluation", date=datetime.now(UTC).date(), reference="")
    return Identity(id=identity_id, names={"en": identity_id}, consent=consent)
