"""The portraits that ship with the package, and where the face stands in each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2

from monitor.demo.clip import Picture
from monitor.errors import ImageRefused
from monitor.faces.face import Box

PHOTOS = Path(__file__).parent / "photos"


@dataclass(frozen=True, slots=True, kw_only=True)
class Portrait:
    """A photo of one person."""

    path: Path
    face: Box
    """The face in pixels of the photo, forehead to chin."""

    def read(self) -> Picture:
        """The photo as BGR, uint8.

        :raises ImageRefused: when the file is missing or is no image.
        """
        picture = cv2.imread(str(self.path), cv2.IMREAD_COLOR)
        if picture is None:
            raise ImageRefused(f"{self.path}: not a readable image")
        return picture.astype("uint8", copy=False)


OBAMA_OFFICIAL = Portrait(path=PHOTOS / "obama_official_portrait.jpg", face=Box(x1=369, y1=92, x2=610, y2=421))
OBAMA_SENATE = Portrait(path=PHOTOS / "obama_senate_portrait.jpg", face=Box(x1=220, y1=163, x2=464, y2=501))
BIDEN = Portrait(path=PHOTOS / "biden_white_house.jpg", face=Box(x1=427, y1=173, x2=714, y2=577))
