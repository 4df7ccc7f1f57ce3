"""The photos to be evaluated: identities as folders of photos, as Labeled Faces in the Wild lays them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np

from monitor.demo.carphone import carphone_pictures
from monitor.demo.portraits import BIDEN, OBAMA_OFFICIAL, OBAMA_SENATE
from monitor.errors import ImageRefused, MonitorError
from monitor.evaluation.shot import Picture
from monitor.faces.images import MOST_BYTES
from monitor.gallery.folder import PHOTO_SUFFIXES, is_unfinished

_SAMPLE_SIZE = (704, 576)
"""The 176 x 144 sample clip enlarged as much as its face needs to be worth a reference photo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """One photo of one person: a file, or a picture that ships with the package."""

    identity: str
    name: str
    path: Path | None = None
    picture: Picture | None = field(default=None, repr=False, compare=False)

    @property
    def key(self) -> str:
        """How it is named to the operator."""
        return f"{self.identity}/{self.name}"

    def read(self) -> bytes:
        """The image file.

        :raises ImageRefused: it cannot be read, or is too large.
        """
        if self.picture is not None:
            _, data = cv2.imencode(".png", self.picture)
            return np.asarray(data, np.uint8).tobytes()
        assert self.path is not None, "a photo is a file or a picture"
        try:
            with self.path.open("rb") as opened:
                content = opened.read(MOST_BYTES + 1)
        except OSError as err:
            raise ImageRefused(f"cannot be read: {err.strerror}") from err
        if len(content) > MOST_BYTES:
            raise ImageRefused(f"the file has more than {MOST_BYTES} bytes")
        return content


Album = Mapping[str, Sequence[Photo]]
"""Identity to photos, both sorted by name."""


def read_album(folder: Path) -> Album:
    """What lies in ``folder``; identities without a photo are left out.

    :raises MonitorError: it is missing, or no identity has two photos, so that nobody could be found again.
    """
    try:
        people = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not is_unfinished(entry.name))
        album = {person.name: photos for person in people if (photos := _photos(person))}
    except OSError as err:
        raise MonitorError(
            f"{folder}: {err.strerror}; give the folder that holds one folder of photos a person"
        ) from err
    if not any(len(photos) >= 2 for photos in album.values()):
        raise MonitorError(
            f"{folder}: no identity with two photos ({len(album)} with one): one is enrolled, the other must be found; "
            "expected FOLDER/person/photo.jpg"
        )
    return MappingProxyType(album)


def _photos(person: Path) -> list[Photo]:
    return [
        Photo(identity=person.name, name=path.name, path=path)
        for path in sorted(person.iterdir())
        if path.suffix.lower() in PHOTO_SUFFIXES and path.is_file() and not is_unfinished(path.name)
    ]


def shipped_album() -> Album:
    """The faces that ship: a person in two photos, one in one, and a picture of the sample clip's head.

    :raises MonitorError: the sample clip is not installed; names the remedy.
    """
    files = {
        "barack_obama": (OBAMA_OFFICIAL, OBAMA_SENATE),
        "joe_biden": (BIDEN,),
    }
    album: dict[str, Sequence[Photo]] = {
        identity: [Photo(identity=identity, name=portrait.path.name, path=portrait.path) for portrait in portraits]
        for identity, portraits in files.items()
    }
    head = carphone_pictures(1, *_SAMPLE_SIZE)[0]
    album["carphone_speaker"] = [Photo(identity="carphone_speaker", name="first picture", picture=head)]
    return MappingProxyType(album)
