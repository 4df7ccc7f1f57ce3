"""Makes a face swap: a portrait's face on somebody else's moving head, as a cloned presenter would be shown.

Landmark warp, colour match and seamless cloning (Perez et al., Poisson Image Editing, 2003).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from monitor.demo.carphone import carphone_pictures
from monitor.demo.clip import FPS, HEIGHT, SECONDS, WIDTH, Picture, write_clip
from monitor.demo.portraits import Portrait
from monitor.demo.room_clip import blurred_backdrop, dress
from monitor.demo.shop_overlay import Shop
from monitor.errors import MonitorError
from monitor.faces.detect import Detector
from monitor.faces.opencv_zoo import YUNET, prepared
from monitor.faces.providers import open_session
from monitor.faces.yunet import YuNet

HEAD_SIZE = (440, 360)
"""Width and height to which the 176 x 144 clip is enlarged; the face is then 145 to 175 px high."""

_FACE_PX = 165.0
"""Height to which the portrait's face is brought before it is warped: about that of the head."""
_DETECT_SIDE_PX = 320
_SMOOTHING = (0.07, 0.24, 0.38, 0.24, 0.07)
"""Weights over neighbouring pictures: the detector's landmarks tremble by a pixel, a head does not."""
_MASK_AXES = (1.1, 1.6)
"""Half axes of the mask's ellipse, in distances between the eyes and from eyes to mouth."""
_SKIN_CHROMA = 22.0
"""Distance from the cheeks' colour, in OpenCV's 8-bit Lab a and b, within which a pixel is skin."""
_SKIN_LIGHTNESS = 0.5
"""Share of the cheeks' lightness below which a pixel is hair or shadow."""

Landmarks = NDArray[np.float64]
"""Shape (5, 2), pixels, as :class:`monitor.faces.face.Face` orders them."""


def make_swap_clip(path: Path, portrait: Portrait, shop: Shop, *, networks_dir: Path, seconds: float = SECONDS) -> None:
    """Write a room's clip with ``portrait``'s face swapped on to the moving head of the carphone clip.

    The head moves forward and back again, so that the clip can be looped without a jump.

    :param networks_dir: folder for the prepared detector, as ``faces.cache_dir``.
    :raises MonitorError: when the carphone clip is missing (names the remedy).
    :raises PackError: when the detector is.
    """
    heads = swapped_heads(portrait, round(seconds * FPS) // 2, open_detector(networks_dir))
    write_clip(path, dress(_staged([*heads, *reversed(heads)]), shop, 2 * len(heads)))


def open_detector(networks_dir: Path) -> Detector:
    """The project's own detector, for pictures with one large face.

    :raises PackError: when its network is missing.
    """
    return YuNet(open_session(prepared(YUNET, networks_dir), "cpu"), sides=(_DETECT_SIDE_PX,))


def swapped_heads(portrait: Portrait, count: int, detector: Detector) -> list[Picture]:
    """``count`` pictures (360 x 440 x 3, BGR) of the carphone head with ``portrait``'s face, in order of time.

    :raises MonitorError: when the clip is missing, or no face is found in portrait or clip.
    """
    photo = portrait.read()
    scale = _FACE_PX / portrait.face.height
    photo = np.asarray(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    heads = carphone_pictures(count, *HEAD_SIZE)
    face = find_landmarks(detector, photo)
    mask = face_mask(photo, face)
    places = smoothed([find_landmarks(detector, head) for head in heads])
    return [swap_face(photo, mask, face, head, place) for head, place in zip(heads, places, strict=True)]


def find_landmarks(detector: Detector, picture: Picture) -> Landmarks:
    """The landmarks of the largest face.

    :raises MonitorError: when there is none.
    """
    found = detector.detect(picture)
    if not len(found):
        raise MonitorError("no face was found where the demo's sample pictures have one: reinstall the package")
    heights = found.boxes[:, 3] - found.boxes[:, 1]
    return np.asarray(found.landmarks[int(heights.argmax())], np.float64)


def smoothed(track: Sequence[Landmarks]) -> list[Landmarks]:
    """The landmarks of consecutive pictures, averaged over time."""
    reach = len(_SMOOTHING) // 2
    padded = np.pad(np.stack(track), ((reach, reach), (0, 0), (0, 0)), mode="edge")
    return [np.tensordot(np.array(_SMOOTHING), padded[i : i + len(_SMOOTHING)], axes=1) for i in range(len(track))]


def face_mask(photo: Picture, face: Landmarks) -> NDArray[np.uint8]:
    """The face from the hairline to the chin: 255 inside, 0 outside, height and width of ``photo``.

    An ellipse, without what has not the skin's colour: hair, collar and background would be cloned with it.
    """
    lab = cv2.GaussianBlur(cv2.cvtColor(photo, cv2.COLOR_BGR2LAB), (0, 0), 1.5).astype(np.float32)
    cheeks = np.median(lab[_ellipse(photo, face, 0.6, 0.8) > 0], axis=0)
    skin = np.hypot(lab[..., 1] - cheeks[1], lab[..., 2] - cheeks[2]) < _SKIN_CHROMA
    skin &= lab[..., 0] > _SKIN_LIGHTNESS * cheeks[0]
    # Eyes, teeth and lips belong to the face whatever their colour.
    skin |= _ellipse(photo, face, 0.75, 0.95) > 0
    mask = np.where(skin, _ellipse(photo, face, *_MASK_AXES), 0).astype(np.uint8)
    mask = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, _disc(15)), np.uint8)
    mask = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, _disc(25)), np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    whole = np.zeros_like(mask)
    cv2.drawContours(whole, [max(outlines, key=cv2.contourArea)], -1, 255, -1)
    return np.asarray(cv2.erode(whole, _disc(9)), np.uint8)


def _ellipse(photo: Picture, face: Landmarks, across: float, down: float) -> NDArray[np.uint8]:
    """A filled ellipse on the face; half axes in distances between the eyes and from eyes to mouth."""
    eyes, mouth = (face[0] + face[1]) / 2, (face[3] + face[4]) / 2
    level = face[1] - face[0]
    # A little towards the nearer cheek: the portrait looks to the side.
    centre = (eyes + mouth) / 2 - 0.05 * level - 0.05 * (mouth - eyes)
    axes = (int(math.hypot(*level) * across), int(math.hypot(*(mouth - eyes)) * down))
    tilt = math.degrees(math.atan2(level[1], level[0]))
    filled = np.zeros(photo.shape[:2], np.uint8)
    cv2.ellipse(filled, (int(centre[0]), int(centre[1])), axes, tilt, 0, 360, 255, -1)
    return filled


def _disc(size: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


def swap_face(photo: Picture, mask: NDArray[np.uint8], face: Landmarks, head: Picture, place: Landmarks) -> Picture:
    """``head`` with the masked face of ``photo`` in the place of its own.

    :param face: landmarks in ``photo``.
    :param place: landmarks in ``head``.
    """
    size = (head.shape[1], head.shape[0])
    motion = _landmark_warp(face, place)
    warped = np.asarray(cv2.warpAffine(photo, motion, size, borderMode=cv2.BORDER_REPLICATE), np.uint8)
    area = np.asarray(cv2.warpAffine(mask, motion, size, flags=cv2.INTER_NEAREST), np.uint8)
    x, y, width, height = cv2.boundingRect(area)
    coloured = match_colour(warped, head, area)
    centre = (x + width // 2, y + height // 2)
    return np.asarray(cv2.seamlessClone(coloured, head, area, centre, cv2.NORMAL_CLONE), np.uint8)


def match_colour(source: Picture, target: Picture, area: NDArray[np.uint8]) -> Picture:
    """``source`` with the mean lightness and tint that ``target`` has inside ``area`` (255 inside)."""
    lab = cv2.cvtColor(source, cv2.COLOR_BGR2LAB)
    difference = np.subtract(cv2.mean(cv2.cvtColor(target, cv2.COLOR_BGR2LAB), area), cv2.mean(lab, area))
    moved = np.clip(lab + difference[:3], 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(moved, cv2.COLOR_LAB2BGR), np.uint8)


def _landmark_warp(face: Landmarks, place: Landmarks) -> NDArray[np.float64]:
    """Half way between the best affine map and the best similarity: follows the head's turn, keeps the face's shape."""
    points = np.hstack([face, np.ones((5, 1))])
    affine = np.linalg.lstsq(points, place, rcond=None)[0].T
    source, target = (value[:, 0] + 1j * value[:, 1] for value in (face, place))
    centred = source - source.mean()
    factor = (np.conj(centred) * (target - target.mean())).sum() / (np.abs(centred) ** 2).sum()
    offset = target.mean() - factor * source.mean()
    similarity = np.array([[factor.real, -factor.imag, offset.real], [factor.imag, factor.real, offset.imag]])
    return np.asarray((affine + similarity) / 2, np.float64)


def _staged(heads: Sequence[Picture]) -> Iterator[Picture]:
    """Each head in the middle of the screen, over its blurred enlargement."""
    backdrop = blurred_backdrop(heads[0])
    left = (WIDTH - HEAD_SIZE[0]) // 2
    for head in heads:
        picture = backdrop.copy()
        picture[:HEIGHT, left : left + HEAD_SIZE[0]] = head
        yield picture
