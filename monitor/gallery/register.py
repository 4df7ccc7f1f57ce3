"""Who is in the gallery, as their identity.yaml files say; remembers the last good version of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from monitor.errors import GalleryError
from monitor.gallery.folder import FileStamp, IdentityFolder, read_identity_file
from monitor.gallery.identity import Identity
from monitor.gallery.identity_file import parse_identity


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    stamp: FileStamp
    identity: Identity | None
    """The last version that was valid."""
    error: GalleryError | None


class Register:
    """Reads only the identity.yaml files that changed. Not for use by two threads at once."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def update(self, folders: Iterable[IdentityFolder]) -> tuple[Mapping[str, Identity], tuple[GalleryError, ...]]:
        """Every identity that can be used, and what is wrong with the files of the others. Blocking.

        An identity whose file became invalid keeps its last valid version, and stands in both.
        """
        self._entries = {folder.id: self._read(folder, self._entries.get(folder.id)) for folder in folders}
        identities = {id_: entry.identity for id_, entry in self._entries.items() if entry.identity is not None}
        return identities, tuple(entry.error for entry in self._entries.values() if entry.error is not None)

    def _read(self, folder: IdentityFolder, known: _Entry | None) -> _Entry:
        if known is not None and known.stamp.still_holds(folder.file.stamp):
            return known
        try:
            data = read_identity_file(folder.file)
            identity = parse_identity(data, identity_id=folder.id, path=folder.file.path)
        except GalleryError as err:
            last = known.identity if known is not None else None
            consequence = (
                "the last valid version stays in use until the file is mended"
                if last is not None
                else "this person is not protected until the file is mended"
            )
            return _Entry(stamp=folder.file.stamp, identity=last, error=GalleryError(f"{err}; {consequence}"))
        return _Entry(stamp=folder.file.stamp, identity=identity, error=None)
