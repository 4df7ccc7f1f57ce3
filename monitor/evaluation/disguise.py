"""Transformations that change how the face looks, or hide a part of it. The landmarks stay where they are."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from monitor.evaluation.shot import Picture, Shot

_STICKER = (60, 190, 250)
_BANNER = (150, 40, 200)
_GLASSES = (24, 20, 20)
_BEAUTY_REACH = 2.6
"""Half side of the square about the nose that a beauty filter works on, in eye-to-mouth distances."""


def gamma_corrected(shot: Shot, gamma: float) -> Shot:
    """Brightness to the power of ``gamma``: below 1 brighter, above 1 darker."""
    table = (255 * (np.arange(256) / 255) ** gamma).round().astype(np.uint8)
    return shot.with_picture(np.asarray(cv2.LUT(shot.picture, table), np.uint8))


def dimmed(shot: Shot, gain: float) -> Shot:
    """Every value times ``gain``."""
    return shot.with_picture(np.asarray(cv2.convertScaleAbs(shot.picture, alpha=gain), np.uint8))


def tinted(shot: Shot, blue: float, green: float, red: float) -> Shot:
    """A gain for each colour."""
    levels = np.arange(256)[:, np.newaxis] * np.array([blue, green, red])
    table = np.clip(levels, 0, 255).round().astype(np.uint8).reshape(256, 1, 3)
    return shot.with_picture(np.asarray(cv2.LUT(shot.picture, table), np.uint8))


def greyed(shot: Shot) -> Shot:
    """Without colour."""
    grey = cv2.cvtColor(shot.picture, cv2.COLOR_BGR2GRAY)
    return shot.with_picture(np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8))


def blurred(shot: Shot, units: float) -> Shot:
    """Out of focus: a Gaussian of ``units`` eye-to-mouth distances."""
    return shot.with_picture(np.asarray(cv2.GaussianBlur(shot.picture, (0, 0), units * shot.unit), np.uint8))


def beautified(shot: Shot) -> Shot:
    """Skin smoothed (bilateral filter, Tomasi 1998), eyes enlarged and cheeks drawn in by a local warp."""
    reach = round(_BEAUTY_REACH * shot.unit)
    x, y = (round(float(value)) for value in shot.nose)
    left, top = max(0, x - reach), max(0, y - reach)
    area = (slice(top, min(shot.height, y + reach)), slice(left, min(shot.width, x + reach)))
    part = np.ascontiguousarray(shot.picture[area])
    if not part.size:
        return shot
    smooth = cv2.bilateralFilter(part, 7, 40, max(2.0, 0.05 * shot.unit))
    map_x, map_y = _beauty_map(shot, (left, top), part.shape[1], part.shape[0])
    picture = shot.picture.copy()
    picture[area] = cv2.remap(smooth, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return shot.with_picture(picture)


def _beauty_map(
    shot: Shot, corner: tuple[int, int], width: int, height: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where each pixel of the part comes from. Eyes and mouth corners are fixed points."""
    grid = np.mgrid[0:height, 0:width].astype(np.float64)
    points = np.stack([grid[1], grid[0]], axis=-1)
    source = points.copy()
    for eye in shot.landmarks[:2] - np.array(corner):
        offset = points - eye
        near = np.clip(1 - np.hypot(offset[..., 0], offset[..., 1]) / (0.5 * shot.unit), 0, 1)
        source -= 0.25 * near[..., np.newaxis] * offset
    # Cheeks: beyond the mouth's corners, below the eyes; nothing moves at the edge of the part.
    down = (shot.mouth - shot.eyes) / shot.unit
    offset = points - (shot.eyes - np.array(corner))
    along = (offset @ down) / shot.unit
    beside = (offset @ np.array([down[1], -down[0]])) / shot.unit
    weight = np.clip(1 - np.abs(along - 0.9) / 0.9, 0, 1) * np.clip(1 - np.abs(np.abs(beside) - 1.1) / 0.5, 0, 1)
    pull = 0.09 * shot.unit * weight * np.sign(beside)
    source += pull[..., np.newaxis] * np.array([down[1], -down[0]])
    return source[..., 0].astype(np.float32), source[..., 1].astype(np.float32)


def sticker_on_eyes(shot: Shot) -> Shot:
    """Opaque sunglasses: both eyes and the brows."""
    return _panel(shot, shot.eyes, (1.15, 0.32), _GLASSES)


def sticker_on_mouth(shot: Shot) -> Shot:
    """An opaque round sticker from below the nose to below the lips."""
    return _disc(shot, shot.mouth, (0.62, 0.42))


def sticker_on_chin(shot: Shot) -> Shot:
    """An opaque round sticker from below the lips to below the chin."""
    return _disc(shot, shot.mouth + 0.72 * (shot.mouth - shot.eyes), (0.75, 0.45))


def banner_over_lower_half(shot: Shot) -> Shot:
    """A banner right across the picture, from the tip of the nose to below the chin."""
    picture = shot.picture.copy()
    top = max(0, round(float(shot.nose[1])))
    picture[top : max(top, round(float(shot.mouth[1] + 1.1 * shot.unit)))] = _BANNER
    return _lettered(shot, picture, (shot.width // 12, round(float(shot.mouth[1]))))


def banner_over_side(shot: Shot) -> Shot:
    """An upright banner over the right half of the face, from the ridge of the nose outwards."""
    picture = shot.picture.copy()
    left = max(0, round(float((shot.eyes[0] + shot.nose[0]) / 2)))
    picture[:, left : max(left, round(left + 1.7 * shot.unit))] = _BANNER
    return _lettered(shot, picture, (left + 4, shot.height // 4))


def _lettered(shot: Shot, picture: Picture, at: tuple[int, int]) -> Shot:
    cv2.putText(picture, "TODAY -70 %", at, cv2.FONT_HERSHEY_SIMPLEX, shot.unit / 60, (255, 255, 255), 2, cv2.LINE_AA)
    return shot.with_picture(picture)


def _disc(shot: Shot, middle: NDArray[np.float64], half: tuple[float, float]) -> Shot:
    picture = shot.picture.copy()
    axes = (max(1, round(half[0] * shot.unit)), max(1, round(half[1] * shot.unit)))
    at = (round(float(middle[0])), round(float(middle[1])))
    cv2.ellipse(picture, at, axes, shot.tilt, 0, 360, _STICKER, -1, cv2.LINE_AA)
    cv2.ellipse(picture, at, axes, shot.tilt, 0, 360, (30, 90, 160), 2, cv2.LINE_AA)
    return shot.with_picture(picture)


def _panel(shot: Shot, middle: NDArray[np.float64], half: tuple[float, float], colour: tuple[int, int, int]) -> Shot:
    """A filled rectangle, turned with the face; half sides in eye-to-mouth distances."""
    picture = shot.picture.copy()
    turn = math.radians(shot.tilt)
    across = np.array([math.cos(turn), math.sin(turn)]) * half[0] * shot.unit
    down = np.array([-math.sin(turn), math.cos(turn)]) * half[1] * shot.unit
    corners = np.array([middle - across - down, middle + across - down, middle + across + down, middle - across + down])
    cv2.fillConvexPoly(picture, corners.round().astype(np.int32), colour, cv2.LINE_AA)
    return shot.with_picture(picture)
