"""The frame around a face: found where a window was laid over a picture, and only there."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from faces.pictures import Picture, room_picture

from monitor.faces.analyser import FaceAnalyser
from monitor.faces.face import GRID_SIDE, Box
from monitor.faces.inset import inset_around


def _busy(height: int = 360, width: int = 640) -> Picture:
    """Soft shapes everywhere, no straight upright edge."""
    chance = np.random.default_rng(5).integers(0, 255, (height, width, 3)).astype(np.uint8)
    return np.asarray(cv2.normalize(cv2.GaussianBlur(chance, (0, 0), 12), None, 30, 220, cv2.NORM_MINMAX), np.uint8)


@pytest.mark.parametrize("corner", [(400, 40), (500, 0), (0, 240)])
def test_a_window_laid_over_a_picture_is_found_to_the_pixel(corner: tuple[int, int]) -> None:
    x, y = corner
    picture = _busy()
    picture[y : y + 120, x : x + 140] = 255 - picture[y : y + 120, x : x + 140]
    found = inset_around(picture, Box(x1=x + 45, y1=y + 30, x2=x + 90, y2=y + 90))
    assert found is not None
    ends = np.array([found.x1, found.y1, found.x2, found.y2])
    assert np.abs(ends - [x, y, x + 139, y + 119]).max() <= 1


def test_a_face_without_a_frame_has_none() -> None:
    assert inset_around(_busy(), Box(x1=300, y1=150, x2=345, y2=210)) is None


def test_two_borders_that_face_each_other_are_no_frame() -> None:
    """A portrait camera's picture between blurred sides is as high as the screen."""
    picture = _busy()
    picture[:, 200:440] = 255 - picture[:, 200:440]
    assert inset_around(picture, Box(x1=290, y1=100, x2=350, y2=260)) is None


@pytest.mark.parametrize("box", [(0, 0, 2, 2), (0, 0, 640, 360), (639, 359, 640, 360), (5, 5, 5.5, 5.5)])
def test_no_box_within_the_picture_is_an_error(box: tuple[float, float, float, float]) -> None:
    x1, y1, x2, y2 = box
    inset_around(_busy(), Box(x1=x1, y1=y1, x2=x2, y2=y2))


def _two_portraits(portraits: dict[str, Picture], scale: float, x: int) -> Picture:
    """A portrait in the middle, and another of that scale in a window whose left edge is at ``x``."""
    picture = room_picture(portraits["obama_official_portrait"])
    window = cv2.resize(portraits["obama_senate_portrait"], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    picture[20 : 20 + window.shape[0], x : x + window.shape[1]] = window
    return picture


def test_only_the_smaller_of_two_faces_is_searched_for_a_frame(
    analyser: FaceAnalyser, portraits: dict[str, Picture]
) -> None:
    faces = analyser.faces(_two_portraits(portraits, scale=0.16, x=470))
    large, framed = sorted(faces, key=lambda face: -face.box.height)
    assert large.inset is None
    assert framed.inset is not None
    assert abs(framed.inset.x1 - 470) <= 2
    assert [len(face.grid) for face in (large, framed)] == [GRID_SIDE**2] * 2


def test_a_face_nearly_as_high_as_the_highest_is_not_searched_for_a_frame(
    analyser: FaceAnalyser, portraits: dict[str, Picture]
) -> None:
    picture = _two_portraits(portraits, scale=0.27, x=440)
    beside = max(analyser.faces(picture), key=lambda face: face.box.x1)
    assert inset_around(picture, beside.box) is not None
    assert beside.embedding is not None
    assert beside.inset is None
