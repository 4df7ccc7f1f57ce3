"""Evidence shows the box and the label; the crop shows the face with its surroundings."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from monitor.faces.draw import boxed_jpeg, crop_bounds, crop_jpeg, others_hidden
from monitor.faces.face import Box

BOX = Box(x1=300, y1=200, x2=400, y2=340)


def _decoded(data: bytes) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))


def test_the_box_is_drawn_on_a_copy() -> None:
    picture = np.full((720, 1280, 3), 60, np.uint8)
    shown = _decoded(boxed_jpeg(picture, BOX, ""))
    assert shown.shape == picture.shape
    assert (picture == 60).all()
    assert shown[270, 300, 2] > 180  # its left edge is yellow
    assert abs(int(shown[270, 350, 2]) - 60) < 12  # nothing is drawn inside


@pytest.mark.parametrize("label", ["Barack Obama 0.71", "贝拉克·奥巴马 0.71"])
@pytest.mark.parametrize("box", [BOX, Box(x1=1200, y1=2, x2=1279, y2=120), Box(x1=-20, y1=-9, x2=1400, y2=900)])
def test_the_label_is_readable_wherever_the_box_is(label: str, box: Box) -> None:
    picture = np.full((720, 1280, 3), 60, np.uint8)
    plain, labelled = (_decoded(boxed_jpeg(picture, box, text)).astype(int) for text in ("", label))
    changed = np.abs(labelled - plain).max(axis=2) > 60
    assert changed.sum() > 1200


def test_different_labels_give_different_pictures() -> None:
    picture = np.full((720, 1280, 3), 60, np.uint8)
    assert boxed_jpeg(picture, BOX, "奥巴马") != boxed_jpeg(picture, BOX, "拜登总")


def test_a_crop_has_forty_percent_more_on_each_side() -> None:
    assert crop_bounds(BOX, width=1280, height=720) == (260, 144, 440, 396)


def test_a_small_face_is_cropped_to_at_least_160_pixels() -> None:
    left, top, right, bottom = crop_bounds(Box(x1=100, y1=100, x2=130, y2=140), width=640, height=360)
    assert bottom - top == 160
    assert left < 100 < 130 < right


def test_a_crop_at_the_edge_is_moved_inwards() -> None:
    assert crop_bounds(Box(x1=0, y1=0, x2=30, y2=40), width=640, height=360) == (0, 0, 120, 160)


def test_a_crop_is_never_larger_than_the_picture_nor_empty() -> None:
    assert crop_bounds(Box(x1=0, y1=0, x2=90, y2=90), width=100, height=80) == (0, 0, 100, 80)
    left, top, right, bottom = crop_bounds(Box(x1=5000, y1=-90, x2=5000, y2=-90), width=100, height=80)
    assert 0 <= left < right <= 100
    assert 0 <= top < bottom <= 80


def test_a_crop_shows_the_face() -> None:
    picture = np.zeros((720, 1280, 3), np.uint8)
    picture[200:340, 300:400] = 255
    crop = _decoded(crop_jpeg(picture, BOX))
    assert crop.shape == (252, 180, 3)
    assert crop[126, 90].min() > 240
    assert crop[10, 10].max() < 15


def test_of_several_faces_only_the_one_in_question_can_be_known() -> None:
    picture = np.random.default_rng(1).integers(0, 255, (720, 1280, 3), np.uint8)
    bystander, at_the_edge = Box(x1=700, y1=200, x2=800, y2=340), Box(x1=1260, y1=-30, x2=1310, y2=20)
    nearly_the_same = Box(x1=303, y1=198, x2=402, y2=341)
    hidden = others_hidden(picture, [nearly_the_same, bystander, at_the_edge], BOX)
    assert (hidden[200:340, 300:400] == picture[200:340, 300:400]).all()
    assert hidden[165:375, 675:825].std() < 20 < picture[165:375, 675:825].std()
    assert hidden[:20, 1260:].std() < 40
    untouched = np.ones(picture.shape[:2], bool)
    untouched[165:375, 675:825] = untouched[:75, 1205:] = False
    assert (hidden == picture)[untouched].all()


def test_a_face_beside_the_one_in_question_is_hidden_up_to_that_ones_box() -> None:
    picture = np.random.default_rng(1).integers(0, 255, (720, 1280, 3), np.uint8)
    hidden = others_hidden(picture, [BOX, Box(x1=380, y1=200, x2=480, y2=340)], BOX)
    assert (hidden[200:340, 300:400] == picture[200:340, 300:400]).all()
    assert hidden[210:330, 410:470].std() < 20
