"""Recognises, without embedding them, faces that were embedded shortly before and resembled nobody protected.

Where a face is, how large and which way it is turned does not tell who it is: with another person's face laid on a
talking head, place and pose stay. What tells is the coarse grid of the aligned crop. On carphone (a head that talks
and turns in a moving car, after H.264 at 500 kbit/s) the grids of two pictures a second or two apart correlate by 0.53
(5 %) to 0.69 (median). Those of the head with those of the same head that wears a swapped face, three people's, 34 to
150 px high, at 60 and 500 kbit/s: of 1,800 pairs 12 are as alike as ``_SAME_LOOK`` asks, all of one of the three, and
all but two at 60 kbit/s (0.73 at most); of 180 swapped pictures 7, where the track had eight looks. Of strangers' faces
(LFW, crops of 25 px, 4,632 pairs) 7 % are. So somebody else in the same place and pose may be taken for the settled
face until it is embedded again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from monitor.faces.face import GRID_SIDE, Face, PictureFaces, Quality, Settled, SettledFace
from monitor.faces.luma import is_cut

_SAME_LOOK = 0.65
"""Correlation of two grids' inner parts."""
_INNER = slice(5, 18), slice(4, 16)
"""Rows and columns from the brows to the chin: what lies around them stays when another face is laid on the head."""
_SAME_PLACE = 0.4
"""Overlap of the boxes. That of a head that moves as in carphone is 0.44 (5 %) after a second; the boxes of people
beside one another hardly overlap."""
_SAME_POSE = 20.0
"""Degrees of yaw, pitch and roll each; the landmarks' trembling alone makes 5 to 8 in either picture."""
_GROWN = 1.25
"""Times the height: whoever comes nearer may be recognised now."""
_BETTER = 0.1
"""Gain of the combined quality, 0 to 1."""


def recognised(settled: Sequence[SettledFace], faces: Mapping[int, Face]) -> dict[int, int]:
    """Which of a picture's faces need not be embedded: their key in ``faces`` to the settled face's number.

    :param faces: those that passed the quality gate, with their grids. Two of them are never the same settled face.
    """
    alike = [
        (known.box.overlap(face.box), key, known.number)
        for known in settled
        for key, face in faces.items()
        if _looks_the_same(known, face)
    ]
    found: dict[int, int] = {}
    for _, key, number in sorted(alike, reverse=True):
        if key not in found and number not in found.values():
            found[key] = number
    return found


def spared(picture: PictureFaces, settled: Settled | None) -> PictureFaces:
    """``picture``, all of whose faces were embedded, as it would be had those that are settled been spared."""
    if settled is None or is_cut(settled.luma, picture.luma):
        return picture
    embedded = {index: face for index, face in enumerate(picture.faces) if face.embedding is not None}
    found = recognised(settled.faces, embedded)
    faces = (
        replace(face, embedding=None, settled=found[index]) if index in found else face
        for index, face in enumerate(picture.faces)
    )
    return replace(picture, faces=tuple(faces))


def _looks_the_same(known: SettledFace, face: Face) -> bool:
    return (
        known.box.overlap(face.box) >= _SAME_PLACE
        and not _is_clearer(known.quality, face.quality)
        and _turned_by(known.quality, face.quality) <= _SAME_POSE
        and _likeness(known.grid, face.grid) >= _SAME_LOOK
    )


def _is_clearer(before: Quality, now: Quality) -> bool:
    # A face that may be settled is not shown to the quality network.
    earlier, later = (replace(quality, clarity=None).value for quality in (before, now))
    return now.height_px > _GROWN * before.height_px or later > earlier + _BETTER


def _turned_by(before: Quality, now: Quality) -> float:
    """Degrees about the axis about which it turned most."""
    return max(abs(now.yaw - before.yaw), abs(now.pitch - before.pitch), abs(now.roll - before.roll))


def _likeness(one: bytes, other: bytes) -> float:
    """Pearson's correlation of the inner parts, -1 to 1; 0 where a grid is missing or all of one brightness."""
    if len(one) != GRID_SIDE**2 or len(other) != GRID_SIDE**2:
        return 0.0
    first, second = _inner(one), _inner(other)
    scale = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float((first * second).sum()) / scale if scale > 0 else 0.0


def _inner(grid: bytes) -> NDArray[np.float64]:
    """The inner part, with mean 0."""
    cells = np.frombuffer(grid, np.uint8).reshape(GRID_SIDE, GRID_SIDE)[_INNER].astype(np.float64)
    return np.asarray(cells - cells.mean())
