"""Recognises a picture that has not changed from a few coarse brightnesses, in which nobody can be recognised."""

from __future__ import annotations

import struct

import cv2
import numpy as np
from numpy.typing import NDArray

CELLS = 16
_SIZE = struct.Struct("!HH")
# Rounding moves a cell by 1; a face that moves by two pixels in 720p moves the cells at its edge by more.
_SAME = 1
_CUT = 16.0
"""Mean difference of the cells from which two pictures are of different scenes: before a moving car's window it is 11
after two seconds, 12 after three."""


def luma_hash(luma: NDArray[np.uint8]) -> bytes:
    """Width and height, then the mean luma of 16 x 16 cells: 260 bytes.

    :param luma: shape (H, W).
    """
    height, width = luma.shape
    cells = cv2.resize(luma, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    return _SIZE.pack(width & 0xFFFF, height & 0xFFFF) + cells.tobytes()


def is_same(one: bytes, other: bytes) -> bool:
    """Whether two hashes are of pictures that show the same, but for what encoding does to them."""
    apart = _apart(one, other)
    return apart is not None and bool((apart <= _SAME).all())


def is_cut(one: bytes, other: bytes) -> bool:
    """Whether two hashes are of different scenes, or nothing is known of one of them."""
    apart = _apart(one, other)
    return apart is None or float(apart.mean()) > _CUT


def _apart(one: bytes, other: bytes) -> NDArray[np.int16] | None:
    """How far each cell is from the other's; None for pictures of different sizes."""
    if not one or len(one) != len(other) or one[: _SIZE.size] != other[: _SIZE.size]:
        return None
    first, second = (np.frombuffer(data, np.uint8, offset=_SIZE.size).astype(np.int16) for data in (one, other))
    apart: NDArray[np.int16] = np.abs(first - second)
    return apart
