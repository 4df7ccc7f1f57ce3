"""What lies in the gallery's folder: people's folders, photos, and what is unusable. Blocking: run it in a thread."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from monitor.errors import GalleryError, ImageRefused
from monitor.gallery.identity_file import IDENTITY_FILE, MAX_IDENTITY_BYTES
from monitor.gallery.long_sequence import in_order

NOT_THEM = "not"
"""Sub-folder of a person's folder for photos of others who are mistaken for them."""

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})

_IDENTITY_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_UNFINISHED_SUFFIXES = ("~", ".tmp", ".part", ".partial", ".crdownload", ".swp", ".swx")
# A file written this recently may be written again within the same tick of the file system's clock.
_SETTLED_AFTER_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStamp:
    """Tells, without reading a file, whether it changed."""

    size: int
    mtime_ns: int
    inode: int
    settled: bool = field(compare=False)
    """The last change is old enough for the stamp to be believed."""

    def still_holds(self, other: FileStamp | None) -> bool:
        """Whether a file that had stamp ``self`` when it was read and has ``other`` now needs no reading again."""
        return self == other and self.settled


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryFile:
    """One file of an identity's folder."""

    identity_id: str
    name: str
    path: Path
    """With symbolic links resolved."""
    stamp: FileStamp
    refusal: str | None = None
    """Why it must not be read."""
    look_alike: bool = False
    """It lies in the sub-folder of those who are not this person; ``name`` then begins with ``not/``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityFolder:
    """The folder of one protected person."""

    id: str
    file: GalleryFile
    """Its identity.yaml."""
    photos: tuple[GalleryFile, ...]
    """Theirs, and those of their look-alikes."""

    def still_holds(self, other: IdentityFolder) -> bool:
        """Whether nothing at all can be told from ``other`` that ``self`` does not say."""
        return self == other and self._settled() == other._settled()

    def _settled(self) -> list[bool]:
        return [file.stamp.settled for file in (self.file, *self.photos)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderScan:
    """Everything that was found, sorted by name."""

    folders: tuple[IdentityFolder, ...]
    errors: tuple[GalleryError, ...]


def is_unfinished(name: str) -> bool:
    """Whether a file of this name is hidden or somebody's temporary file, and therefore nothing to look at."""
    return name.startswith(".") or name.lower().endswith(_UNFINISHED_SUFFIXES)


def _is_photo(name: str) -> bool:
    return Path(name).suffix.lower() in PHOTO_SUFFIXES


def scan_folder(root: Path, *, now: datetime, before: FolderScan | None = None) -> FolderScan:
    """Find every identity's folder and its photos without reading any of them.

    :param before: an earlier scan, whose folders are returned again, as the same objects, where nothing changed: so
        many new ones would be left to the garbage collector, which stops every thread for as long as it takes.
    :raises GalleryError: ``root`` is not a readable folder.
    """
    folders: list[IdentityFolder] = []
    errors: list[GalleryError] = []
    try:
        home = root.resolve(strict=True)
        names = in_order((name for name in os.listdir(home) if not is_unfinished(name)), str)
    except OSError as err:
        raise GalleryError(
            f"gallery folder {root}: {err.strerror or err}; create it or set gallery.folder to the folder that "
            "holds one sub-folder per protected person"
        ) from err
    known = {folder.id: folder for folder in before.folders} if before is not None else {}
    for name in names:
        try:
            found = _scan_entry(home, root / name, home / name, now)
        except GalleryError as err:
            errors.append(err.with_traceback(None))
        else:
            if found is not None:
                old = known.get(name)
                folders.append(old if old is not None and old.still_holds(found) else found)
    return FolderScan(folders=tuple(folders), errors=tuple(errors))


def _scan_entry(home: Path, shown: Path, entry: Path, now: datetime) -> IdentityFolder | None:
    if not entry.is_dir():
        if _is_photo(entry.name):
            raise GalleryError(f"{shown}: this photo belongs to nobody; move it into a person's folder")
        return None
    if not _IDENTITY_ID.fullmatch(entry.name):
        raise GalleryError(
            f"{shown}: the folder's name {entry.name!r} cannot be an identity; allowed are 1 to 64 of a-z, 0-9, _ "
            "and -, beginning with a letter or a digit"
        )
    try:
        folder = entry.resolve(strict=True)
        if not folder.is_relative_to(home):
            raise GalleryError(f"{shown}: the folder is a link that leaves the gallery; copy it into the gallery")
        files = [*_files(home, folder, entry.name, now), *_look_alikes(home, shown, folder, entry.name, now)]
    except OSError as err:
        raise GalleryError(f"{shown}: cannot be read: {err.strerror or err}") from err
    described = next((file for file in files if file.name == IDENTITY_FILE), None)
    if described is None:
        raise GalleryError(
            f"{shown}: has no {IDENTITY_FILE}, so nobody is protected by it; write one with name and consent, or "
            "remove the folder"
        )
    photos = tuple(file for file in files if file.name != IDENTITY_FILE)
    return IdentityFolder(id=entry.name, file=described, photos=photos)


def _look_alikes(home: Path, shown: Path, folder: Path, identity_id: str, now: datetime) -> list[GalleryFile]:
    if not (folder / NOT_THEM).is_dir():
        return []
    inner = (folder / NOT_THEM).resolve(strict=True)
    if not inner.is_relative_to(home):
        raise GalleryError(
            f"{shown / NOT_THEM}: the folder is a link that leaves the gallery; copy it into the gallery"
        )
    found = (file for file in _files(home, inner, identity_id, now) if file.name != IDENTITY_FILE)
    return [replace(file, name=f"{NOT_THEM}/{file.name}", look_alike=True) for file in found]


def _files(home: Path, folder: Path, identity_id: str, now: datetime) -> Iterator[GalleryFile]:
    with os.scandir(folder) as listed:
        entries = sorted(listed, key=lambda entry: entry.name)
    for entry in entries:
        if is_unfinished(entry.name) or (entry.name != IDENTITY_FILE and not _is_photo(entry.name)):
            continue
        path = folder / entry.name
        try:
            status = entry.stat()
            path = path.resolve() if entry.is_symlink() else path
            refusal = _refusal(home, path, status)
        except OSError as err:
            if not entry.is_symlink():
                continue  # It went while we looked; the watch tells of that.
            status = entry.stat(follow_symlinks=False)
            refusal = f"cannot be read: {err.strerror or err}"
        yield GalleryFile(
            identity_id=identity_id, name=entry.name, path=path, stamp=_stamp(status, now), refusal=refusal
        )


def _refusal(home: Path, target: Path, status: os.stat_result) -> str | None:
    if not target.is_relative_to(home):
        return "is a link that leaves the gallery's folder; copy the file itself"
    if not stat.S_ISREG(status.st_mode):
        return "is not a file"
    return None


def _stamp(status: os.stat_result, now: datetime) -> FileStamp:
    return FileStamp(
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        inode=status.st_ino,
        settled=now.timestamp() - status.st_mtime > _SETTLED_AFTER_S,
    )


def read_photo(photo: GalleryFile, max_bytes: int) -> tuple[bytes, str]:
    """A photo's content and its hex SHA-256.

    :raises ImageRefused: it is a link out of the gallery, empty, too large, or cannot be read.
    """
    try:
        data = _read(photo, max_bytes)
    except GalleryError as err:
        raise ImageRefused(str(err)) from None
    if not data:
        raise ImageRefused("is empty")
    return data, hashlib.sha256(data).hexdigest()


def read_identity_file(file: GalleryFile) -> bytes:
    """The content of an identity.yaml.

    :raises GalleryError: it is a link out of the gallery, too large, or cannot be read.
    """
    try:
        return _read(file, MAX_IDENTITY_BYTES)
    except GalleryError as err:
        raise GalleryError(f"{file.path}: {err}") from None


def _read(file: GalleryFile, max_bytes: int) -> bytes:
    if file.refusal is not None:
        raise GalleryError(file.refusal)
    try:
        with file.path.open("rb") as opened:
            data = opened.read(max_bytes + 1)
    except OSError as err:
        raise GalleryError(f"cannot be read: {err.strerror or err}") from err
    if len(data) > max_bytes:
        raise GalleryError(f"has {max(file.stamp.size, len(data))} bytes, at most {max_bytes} are allowed")
    return data
