"""A gallery folder to write into, a store in memory, and an analyser that returns prepared faces."""

from __future__ import annotations

import asyncio
import hashlib
import textwrap
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from monitor.errors import ImageRefused
from monitor.faces.face import Box, Embedding, Face, PackInfo, PictureFaces, Quality
from monitor.gallery.identity import Reference
from monitor.gallery.store import StoredReference

PACK = PackInfo(
    name="prepared",
    digest="d1",
    dimension=16,
    licence="none",
    provider="cpu",
    similarity_threshold=0.4,
    candidate_threshold=0.3,
    margin=0.05,
)

IDENTITY = """\
name: {en: Ann Example}
consent: {basis: contract 7, date: 2026-01-01, reference: CREDITS.md}
permissions:
  - {platform: demo, account: ann, kinds: [live]}
"""


def unit(seed: int | bytes, dimension: int = 16) -> Embedding:
    """A random direction that belongs to ``seed``."""
    number = int.from_bytes(hashlib.sha256(seed).digest()[:8]) if isinstance(seed, bytes) else seed
    vector = np.random.default_rng(number).normal(size=dimension)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def face(
    embedding: Embedding | None, *, height: float = 200.0, sharpness: float = 300.0, det_score: float = 0.9
) -> Face:
    return Face(
        box=Box(x1=10, y1=10, x2=10 + height * 0.8, y2=10 + height),
        landmarks=np.zeros((5, 2), np.float32),
        det_score=det_score,
        quality=Quality(sharpness=sharpness, brightness=128.0),
        embedding=embedding,
    )


def picture(*faces: Face) -> PictureFaces:
    return PictureFaces(pts=0, width=640, height=480, faces=faces)


class PreparedAnalyser:
    """Sees in each file the faces prepared for its content; for others, one good face that belongs to the content."""

    def __init__(self) -> None:
        self.pack = PACK
        self.prepared: dict[bytes, PictureFaces | Exception] = {}
        self.analysed: list[bytes] = []
        self.at_once = 0
        self.most_at_once = 0

    async def analyse_image(self, data: bytes) -> PictureFaces:
        self.analysed.append(data)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0.005)
        finally:
            self.at_once -= 1
        if data.startswith(b"half"):
            raise ImageRefused("the file ends too early")
        result = self.prepared.get(data) or picture(face(unit(data)))
        if isinstance(result, Exception):
            raise result
        return result

    async def crop_image(self, data: bytes, box: Box) -> bytes:
        return b"crop of " + data[:20]


class MemoryStore:
    """Keeps rows in a dict, as the database would over restarts."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], StoredReference] = {}
        self.failure: Exception | None = None
        self.hands_out_everything = False

    async def load(self, pack_digest: str) -> Sequence[StoredReference]:
        self._fail()
        return [row for row in self.rows.values() if self.hands_out_everything or row.pack_digest == pack_digest]

    async def put(self, reference: StoredReference) -> None:
        self._fail()
        self.rows[reference.photo_sha256, reference.pack_digest] = reference

    async def keep_only(self, photo_sha256s: Collection[str]) -> int:
        self._fail()
        gone = [key for key in self.rows if key[0] not in photo_sha256s]
        for key in gone:
            del self.rows[key]
        return len(gone)

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


class Folder:
    """A gallery's folder on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()

    def identity(self, id_: str, content: str | None = IDENTITY, **photos: bytes) -> Path:
        """Write a person's folder; ``a=b"..."`` becomes the photo ``a.jpg``."""
        folder = self.root / id_
        folder.mkdir(exist_ok=True)
        if content is not None:
            (folder / "identity.yaml").write_text(textwrap.dedent(content))
        for name, data in photos.items():
            (folder / f"{name}.jpg").write_bytes(data)
        return folder


def reference(identity_id: str, embedding: Embedding, photo: str = "a.jpg", sha256: str | None = None) -> Reference:
    """A reference whose photo's digest, unless it is given, belongs to identity and photo."""
    return Reference(
        identity_id=identity_id,
        photo=photo,
        photo_sha256=sha256 or hashlib.sha256(f"{identity_id}/{photo}".encode()).hexdigest(),
        pack_digest="d1",
        embedding=embedding,
        crop_jpeg=b"crop",
        face_height_px=200.0,
    )
