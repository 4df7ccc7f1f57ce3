"""Scenes in which a protected face is shown in different ways, 640 x 360, 15 pictures a second, BGR.

The only moving heads are those of the carphone clip: real, or with a portrait's face laid on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np

from monitor.demo.carphone import carphone_path
from monitor.demo.clip import FPS, HEIGHT, WIDTH, Picture, write_clip
from monitor.demo.face_swap import HEAD_SIZE
from monitor.demo.portraits import Portrait

SECONDS = 4


def real_head() -> list[Picture]:
    """Four seconds of the clip as it was filmed, 360 x 440."""
    with av.open(str(carphone_path())) as container:
        filmed = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)][::2]
    return [np.asarray(cv2.resize(one, HEAD_SIZE, interpolation=cv2.INTER_CUBIC), np.uint8) for one in filmed]


def staged(heads: Sequence[Picture], scale: float = 1.0, x: int = 100) -> list[Picture]:
    """The heads before a grey wall, their lower edge at the picture's."""
    return [overlaid(np.full((HEIGHT, WIDTH, 3), 90, np.uint8), _scaled(head, scale), x, None) for head in heads]


def with_inset(room: Sequence[Picture], heads: Sequence[Picture], *, scale: float, x: int, y: int) -> list[Picture]:
    """``room`` with a window in it that shows ``heads``, whose upper left corner is at ``x`` and ``y``."""
    return [overlaid(picture, _scaled(head[:, 60:380], scale), x, y) for picture, head in zip(room, heads, strict=True)]


def overlaid(picture: Picture, piece: Picture, x: int, y: int | None) -> Picture:
    """``picture`` with ``piece`` at ``x``, ``y``; on its lower edge where ``y`` is None."""
    shown = picture.copy()
    top = HEIGHT - piece.shape[0] if y is None else y
    shown[top : top + piece.shape[0], x : x + piece.shape[1]] = piece
    return shown


def with_print(
    room: Sequence[Picture], portrait: Portrait, *, face_px: float, at: tuple[float, float], sway: float
) -> list[Picture]:
    """``room`` with a print of the portrait's head in it.

    :param sway: 0: it hangs on the wall; 1: a hand turns it by up to 25 degrees and moves it by a face's height.
    """
    paper = _print(portrait, face_px)
    return [_laid(picture, paper, face_px, at, index / FPS, sway) for index, picture in enumerate(room)]


def zoomed(portrait: Portrait, from_px: float, to_px: float, *, seconds: int) -> list[Picture]:
    """The portrait all over the picture, its face growing from one height to the other: how a slide is made to move."""
    photo, face = portrait.read(), portrait.face
    middle = np.array([face.x1 + face.x2, face.y1 + face.y2]) / 2
    pictures = []
    for scale in np.linspace(from_px, to_px, seconds * FPS) / face.height:
        x, y = np.array([WIDTH, HEIGHT]) / 2 - scale * middle
        matrix = np.array([[scale, 0, x], [0, scale, y]])
        shown = cv2.warpAffine(photo, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
        pictures.append(np.asarray(shown, np.uint8))
    return pictures


def talking_photo(portrait: Portrait, face_px: float, opening: float, *, seconds: int) -> list[Picture]:
    """The portrait all over the picture, swaying a little; software moves its jaw alone, five times a second.

    :param opening: of the mouth at the most, as a share of the face's height.
    """
    photo, face = zoomed(portrait, face_px, face_px, seconds=1)[0], portrait.face
    wide, lips = face_px * face.width / face.height, HEIGHT / 2 + 0.27 * face_px
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    aside, below = (columns - WIDTH / 2) / wide, rows - lips
    jaw = np.clip(1 - (aside / 0.45) ** 2, 0, 1) * np.clip(1 - below / (0.6 * face_px), 0, 1)
    chance, pictures = np.random.default_rng(3), []
    for index in range(seconds * FPS):
        if index % 3 == 0:
            open_px = opening * face_px * chance.random()
        talked = cv2.remap(photo, columns, np.where(below > 0, np.maximum(lips, rows - open_px * jaw), rows), 1)
        talked[(below > 0) & (below < open_px * np.clip(1 - (aside / 0.22) ** 2, 0, 1))] = (30, 25, 45)
        turn = cv2.getRotationMatrix2D((WIDTH / 2, lips), 1.5 * math.sin(index / 11), 1 + 0.01 * math.sin(index / 13))
        turn[:, 2] += 0.02 * face_px * math.sin(index / 9), 0.015 * face_px * math.sin(index / 7)
        shown = cv2.warpAffine(talked, turn, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
        pictures.append(np.asarray(shown, np.uint8))
    return pictures


def wall(count: int = SECONDS * FPS) -> list[Picture]:
    """A room with nobody in it."""
    room = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    cv2.rectangle(room, (40, 200), (300, 359), (60, 90, 140), -1)
    cv2.rectangle(room, (430, 30), (600, 150), (170, 160, 140), -1)
    return [room] * count


def broadcast(pictures: Sequence[Picture], path: Path) -> list[Picture]:
    """The pictures with a sensor's noise, after H.264 at 500 kbit/s."""
    write_clip(path, _noisy(pictures))
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def _noisy(pictures: Sequence[Picture]) -> Iterator[Picture]:
    chance = np.random.default_rng(7)
    for picture in pictures:
        yield np.clip(picture + chance.normal(0, 3.5, picture.shape), 0, 255).astype(np.uint8)


def _scaled(picture: Picture, scale: float) -> Picture:
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _print(portrait: Portrait, face_px: float) -> Picture:
    """The head and a rim around it, with a face ``face_px`` high in the middle."""
    scale = face_px / portrait.face.height
    photo = _scaled(portrait.read(), scale)
    face = portrait.face
    x, y = (face.x1 + face.x2) / 2 * scale, (face.y1 + face.y2) / 2 * scale
    reach = int(face_px * 0.95)
    padded = cv2.copyMakeBorder(photo, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    return np.asarray(padded[int(y) : int(y) + 2 * reach, int(x) : int(x) + 2 * reach], np.uint8)


def _laid(picture: Picture, paper: Picture, face_px: float, at: tuple[float, float], t: float, sway: float) -> Picture:
    """A flat thing in space, seen by a camera four face heights away (a planar homography)."""
    yaw, pitch, roll = (
        sway * math.radians(degrees)
        for degrees in (25 * math.sin(0.8 * t), 15 * math.sin(1.1 * t + 1), 8 * math.sin(1.3 * t))
    )
    turn_y = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    turn_x = np.array([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
    turn_z = np.array([[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    half = len(paper) / 2
    corners = np.array([[-half, -half, 0], [half, -half, 0], [half, half, 0], [-half, half, 0]])
    turned = (corners * (1 + 0.1 * sway * math.sin(0.6 * t))) @ (turn_z @ turn_x @ turn_y).T
    distance = 4 * face_px
    moved = np.array(at) + sway * face_px * np.array([0.5 * math.sin(0.9 * t), 0.2 * math.sin(0.7 * t)])
    seen = turned[:, :2] * distance / (distance + turned[:, 2:]) + moved
    matrix = cv2.getPerspectiveTransform((corners[:, :2] + half).astype(np.float32), seen.astype(np.float32))
    shown = picture.copy()
    cv2.warpPerspective(paper, matrix, (WIDTH, HEIGHT), dst=shown, borderMode=cv2.BORDER_TRANSPARENT)
    return shown
