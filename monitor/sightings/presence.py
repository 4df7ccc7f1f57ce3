"""How a face is shown: by somebody who presents, in an inset, as a still picture, or somewhere behind.

Pure functions of a track's views. Five landmarks of a detector tremble by 2 to 3 % of a face's height, as much as a
calm head turns them in two seconds, so what tells a print from a head is the registration of the faces' coarse grids
(see :mod:`monitor.sightings.rigidity`). Measured on three or four pictures a second apart, faces 35 to 200 px high,
after H.264 at 500 kbit/s: of 1,188 windows of prints that hung, swayed, were zoomed or were tilted by up to 25 degrees
99.5 % agreed by ``RIGID_FROM`` or more; of 144 windows of one talking head, with and without another face swapped on to
it, none by more than 0.97. Looked at three times as often, which is to say for a head that moves a third as much, 10 %
of its windows would be taken for a print, at first. So are photos of which software moves the mouth alone: opened by a
tenth of the face's height 30 % of the windows of four pictures are and none of 36 of six; by a thirtieth 61 % of six.

What cannot be told apart gets the more severe class. What this means: a photo animated by software, and a print that is
bent or passes through glare, count as a presenter; a person who sits still as a picture counts as one, until they move;
a print on the wall that a moving camera shows counts as held up; somebody smaller beside a larger face, who moves and
has no straight-edged frame, presents too, unless the other is ``_DWARFED`` times as high. A larger face outshines only
if it moves itself, so an inset over somebody who sits still presents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

import numpy as np

from monitor.faces.face import GRID_SIDE, Box
from monitor.sightings.rigidity import planar_agreement

RIGID_FROM = 0.975
"""Agreement from which two views are of one flat picture."""
_ODD_ONES = 6
"""One view in so many may disagree: a detector misses, a hand passes."""
_LEAST_VIEWS = 3
_OUTSHONE = 1.6
"""Another face that is so many times as high is the one that presents; people beside one another differ by less."""
_DWARFED = 2.5
_FIXED = 0.15
"""Face heights by which a thing on a wall seems to move, because its box trembles."""
_SAME_SIDES = 3
"""Sides that two insets share if they are one: the fourth is easily lost in what lies behind."""
_SAME_SIDE = 0.03
"""Share of an inset's size by which one of its sides may seem to move."""


class Presence(StrEnum):
    """How the likeness is shown, the most severe first: in the alert, the evidence, the metrics and the log."""

    PRESENTER = "presenter"
    """A moving face that no other in the picture outshines."""
    INSET = "inset"
    """A moving face in a small window beside a larger one: a reaction, a news clip."""
    STATIC_IMAGE = "static_image"
    """A picture of a face: a slide, a frozen room, a package, a photo held up."""
    BACKGROUND = "background"
    """Behind somebody who presents: a poster on the wall, a passer-by."""

    @property
    def strength(self) -> int:
        """Higher is more severe."""
        return -list(Presence).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """Another face in the picture, which may be the one that presents. Nobody needs to know whose it is."""

    box: Box
    grid: bytes = field(repr=False)
    """As in :class:`View`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one picture says of how a face is shown."""

    box: Box
    picture_height: int
    rival: Rival | None
    """The highest other face of the same picture."""
    inset: Box | None
    """The frame that was seen around it, as in :class:`monitor.faces.face.Face`."""
    quality: float = 1.0
    """The face's combined quality, 0 to 1."""
    grid: bytes = field(repr=False)
    """As in :class:`monitor.faces.face.Face`; empty where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearing:
    """The measurements that decide the presence; numbers only, for the evidence too."""

    views: int
    face_share: float
    """Median height of the face, as a share of the picture's."""
    rigidity: float | None
    """How well the views are explained as one flat picture, 1 for perfectly; None with too few to compare."""
    travel: float
    """Furthest that the face's centre was from its usual place, in face heights."""
    outshone: float
    """Median over the views of how many times as high the highest other face was; 0 where there mostly was none."""
    framed: float
    """Share of the views in which it stood in the frame that the others show."""
    rival_rigidity: float | None
    """As ``rigidity``, of the other face that was the highest most often: a large poster outshines nobody."""

    @classmethod
    def of(cls, views: Sequence[View]) -> Self:
        """Measure; ``views`` are of one face, at least one, oldest first."""
        heights = np.array([view.box.height for view in views])
        centres = np.array([[view.box.x1 + view.box.x2, view.box.y1 + view.box.y2] for view in views]) / 2
        away = np.hypot(*(centres - np.median(centres, axis=0)).T)
        return cls(
            views=len(views),
            face_share=float(np.median(heights / [view.picture_height for view in views])),
            rigidity=_rigidity([view.grid for view in views]),
            travel=float(away.max() / np.median(heights)),
            outshone=float(np.median([_rival_px(view) / max(1.0, view.box.height) for view in views])),
            framed=_framed(views),
            rival_rigidity=_rigidity([rival.grid for rival in _most_seen([view.rival for view in views])]),
        )


def presence_of(bearing: Bearing) -> Presence:
    """The class that the measurements speak for; where they leave it open, the more severe one."""
    rigid = bearing.rigidity is not None and bearing.rigidity >= RIGID_FROM
    rival_moves = bearing.rival_rigidity is not None and bearing.rival_rigidity < RIGID_FROM
    if bearing.outshone < _OUTSHONE or not rival_moves:
        return Presence.STATIC_IMAGE if rigid else Presence.PRESENTER
    if rigid:
        return Presence.BACKGROUND if bearing.travel <= _FIXED else Presence.STATIC_IMAGE
    if bearing.framed > 0.5:
        return Presence.INSET
    return Presence.BACKGROUND if bearing.outshone >= _DWARFED else Presence.PRESENTER


def _rigidity(views: Sequence[bytes]) -> float | None:
    """The agreement of the views' grids with the middle one, but for the odd ones."""
    shape = (GRID_SIDE, GRID_SIDE)
    known = [np.frombuffer(grid, np.uint8) for grid in views if len(grid) == GRID_SIDE**2]
    if len(known) < _LEAST_VIEWS:
        return None
    grids = np.stack(known).reshape(-1, *shape)
    middle = len(grids) // 2
    agreements = np.sort(planar_agreement(grids[middle], np.delete(grids, middle, axis=0)))
    return float(agreements[len(agreements) // _ODD_ONES])


def _rival_px(view: View) -> float:
    return view.rival.box.height if view.rival is not None else 0.0


def _most_seen(rivals: Sequence[Rival | None]) -> list[Rival]:
    """Of several faces that took turns as the highest one, those of the most frequent: each overlaps its last place."""
    followed: list[list[Rival]] = []
    for rival in filter(None, rivals):
        same = next((one for one in followed if one[-1].box.overlap(rival.box) > 0), None)
        if same is None:
            followed.append([rival])
        else:
            same.append(rival)
    return max(followed, key=len, default=[])


def _framed(views: Sequence[View]) -> float:
    """Share of the views whose inset is the same as that of most."""
    frames = np.array([_corners(view.inset) for view in views if view.inset is not None])
    if not len(frames):
        return 0.0
    sizes = (frames[:, 2:] - frames[:, :2]).max(axis=1)
    alike = np.abs(frames[:, np.newaxis] - frames) <= _SAME_SIDE * np.maximum(1.0, sizes)[:, np.newaxis, np.newaxis]
    return float((alike.sum(axis=2) >= _SAME_SIDES).sum(axis=1).max() / len(views))


def _corners(box: Box) -> tuple[float, float, float, float]:
    return box.x1, box.y1, box.x2, box.y2
