"""Photos of many people, a folder for each (the layout of LFW), as embeddings that are kept in memory only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from monitor.errors import FrameLost, GalleryError, ImageRefused
from monitor.faces.face import Embedding, PictureFaces
from monitor.faces.images import MOST_BYTES
from monitor.gallery.folder import PHOTO_SUFFIXES

MOST_PHOTOS = 6
"""Of each person; more say little that is new."""

_SECOND_FACE = 0.6
"""A second face at least this high beside the largest makes it unclear whose photo it is."""

_AT_ONCE = 8

Progress = Callable[[int, int, str], None]


class Analyser(Protocol):
    """The part of the VisionPool that reads photos."""

    async def analyse_image(self, data: bytes) -> PictureFaces: ...


@dataclass(slots=True, kw_only=True)
class Album:
    """Who is on which photos."""

    people: dict[str, list[Embedding]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    """``person/photo: why``."""


async def read_album(photos: Sequence[Path], analyser: Analyser, progress: Progress) -> Album:
    """Every person's embeddings, in the order of ``photos``; the name of a photo's folder is its person's.

    :param progress: is told how many photos are done, of how many, and the last one's name.
    """
    found: dict[Path, Embedding | str] = {}
    gate = asyncio.Semaphore(_AT_ONCE)

    async def look(path: Path) -> None:
        async with gate:
            found[path] = await _face_of(path, analyser)
            progress(len(found), len(photos), f"{path.parent.name}/{path.name}")

    async with asyncio.TaskGroup() as tasks:
        for path in photos:
            tasks.create_task(look(path))
    album = Album()
    for path in photos:
        face = found[path]
        if isinstance(face, str):
            album.skipped.append(f"{path.parent.name}/{path.name}: {face}")
        else:
            album.people.setdefault(path.parent.name, []).append(face)
    return album


def album_photos(folder: Path) -> list[Path]:
    """The photos of every person, sorted, at most ``MOST_PHOTOS`` of each.

    :raises GalleryError: the folder cannot be read, or holds no person's folder with photos.
    """
    try:
        people = sorted(path for path in folder.iterdir() if path.is_dir())
        photos = [path for person in people for path in _photos_of(person)]
    except OSError as err:
        raise GalleryError(f"{err.filename or folder}: cannot be read: {err.strerror}") from err
    if not photos:
        raise GalleryError(
            f"{folder}: holds no photo; one folder for each person with {', '.join(sorted(PHOTO_SUFFIXES))} is expected"
        )
    return photos


def _photos_of(person: Path) -> list[Path]:
    return sorted(path for path in person.iterdir() if path.suffix.lower() in PHOTO_SUFFIXES)[:MOST_PHOTOS]


async def _face_of(path: Path, analyser: Analyser) -> Embedding | str:
    """The embedding of the person on a photo, or why there is none."""
    try:
        data = await asyncio.to_thread(_read, path)
        picture = await analyser.analyse_image(data)
    except (ImageRefused, FrameLost) as err:
        return str(err)
    except OSError as err:
        return f"cannot be read: {err.strerror}"
    ranked = sorted(picture.faces, key=lambda face: -face.box.height)
    if not ranked or ranked[0].embedding is None:
        return "no face that is good enough to be compared"
    if len(ranked) > 1 and ranked[1].box.height >= _SECOND_FACE * ranked[0].box.height:
        return "several faces of nearly the same size"
    return ranked[0].embedding


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ImageRefused(f"more than {MOST_BYTES} bytes")
    return data
