"""What the gallery needs from storage: embeddings of accepted photos, kept over restarts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from monitor.faces.face import Embedding


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReference:
    """What one pack measured in one accepted photo; (``photo_sha256``, ``pack_digest``) is unique.

    It names no identity: the folder in which a photo with this digest lies does.
    """

    photo_sha256: str
    """Hex digest of the photo's file."""
    pack_digest: str
    embedding: Embedding = field(repr=False)
    """Shape (D,), float32, L2-normalised."""
    crop_jpeg: bytes = field(repr=False)
    face_height_px: float
    sharpness: float
    """As in ``Quality``; kept so that a stricter setting refuses a photo that was accepted before."""


class ReferenceStore(Protocol):
    """Keeps stored references. Photos that were refused are never put."""

    async def load(self, pack_digest: str) -> Sequence[StoredReference]:
        """All rows of one pack.

        :raises StorageError: the database cannot be read.
        """

    async def put(self, reference: StoredReference) -> None:
        """Insert, or replace the row of the same photo and pack.

        :raises StorageError: the row is not on disk.
        """

    async def keep_only(self, photo_sha256s: Collection[str]) -> int:
        """Delete, for every pack, the rows of photos that are not named; returns how many rows went.

        :raises StorageError: the rows may still be there.
        """
