"""Transformations as pure functions: what they promise of the picture, and that landmarks move with the face."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from monitor.errors import MonitorError
from monitor.evaluation import disguise, geometry
from monitor.evaluation.catalogue import QUICK, TRANSFORMATIONS, chosen
from monitor.evaluation.shot import Shot, mirrored

# No two are alike, so that a landmark can be told by the spot that is painted on it.
COLOURS = ((0, 0, 255), (0, 255, 0), (255, 0, 0), (0, 255, 255), (255, 0, 255))
MOVES = {
    "mirror": mirrored,
    "scaled": lambda shot: geometry.scaled(shot, 240),
    "enlarged": lambda shot: geometry.scaled(shot, 1080),
    "cropped": lambda shot: geometry.cropped(shot, 0.6),
    "cut_off": lambda shot: geometry.cut_off(shot, 2.0),
    "rotated": lambda shot: geometry.rotated(shot, 15),
    "upside_down": lambda shot: geometry.rotated(shot, 180),
    "in_border": lambda shot: geometry.in_border(shot, 0.6),
    "far_away": lambda shot: geometry.far_away(shot, 0.4),
    "picture_in_picture": lambda shot: geometry.picture_in_picture(shot, 0.4),
}


@pytest.fixture
def shot() -> Shot:
    """A grey picture with a spot on each landmark of a face that leans a little."""
    landmarks = np.array([[560.0, 250.0], [660.0, 262.0], [604.0, 310.0], [558.0, 352.0], [640.0, 362.0]])
    picture = np.full((720, 1280, 3), 90, np.uint8)
    for point, colour in zip(landmarks, COLOURS, strict=True):
        cv2.circle(picture, (int(point[0]), int(point[1])), 14, colour, -1)
    return Shot(picture=picture, landmarks=landmarks)


def at(shot: Shot, index: int) -> np.ndarray:
    x, y = shot.landmarks[index].round().astype(int)
    return shot.picture[y, x].astype(int)


@pytest.mark.parametrize("move", MOVES)
def test_landmarks_stay_on_the_face_wherever_a_transformation_moves_it(shot: Shot, move: str) -> None:
    moved = MOVES[move](shot)
    order = [1, 0, 2, 4, 3] if move == "mirror" else range(5)
    for index, source in enumerate(order):
        assert np.abs(at(moved, index) - COLOURS[source]).max() < 40, (move, index)


def test_mirroring_twice_is_the_same_picture(shot: Shot) -> None:
    twice = mirrored(mirrored(shot))
    assert np.array_equal(twice.picture, shot.picture)
    assert np.allclose(twice.landmarks, shot.landmarks)


def test_mirrored_landmarks_keep_their_order_from_left_to_right(shot: Shot) -> None:
    landmarks = mirrored(shot).landmarks
    assert landmarks[0, 0] < landmarks[1, 0]
    assert landmarks[3, 0] < landmarks[4, 0]


@pytest.mark.parametrize(("height", "width"), [(480, 854), (360, 640), (240, 426)])
def test_a_scaled_picture_has_the_wanted_height_and_even_sides(shot: Shot, height: int, width: int) -> None:
    assert geometry.scaled(shot, height).picture.shape == (height, width, 3)


@pytest.mark.parametrize("share", [0.4, 0.6, 0.9])
def test_a_crop_keeps_the_size_and_enlarges_the_face_by_what_was_cut_away(shot: Shot, share: float) -> None:
    cropped = geometry.cropped(shot, share)
    assert cropped.picture.shape == shot.picture.shape
    assert cropped.unit == pytest.approx(shot.unit / share)


def test_a_face_at_the_edge_is_cropped_without_leaving_the_picture(shot: Shot) -> None:
    aside = Shot(picture=shot.picture, landmarks=shot.landmarks - [540, 240])
    cropped = geometry.cropped(aside, 0.5)
    assert np.allclose(cropped.landmarks, aside.landmarks * 2)


def test_turning_there_and_back_puts_landmarks_where_they_were(shot: Shot) -> None:
    assert np.allclose(geometry.rotated(geometry.rotated(shot, 15), -15).landmarks, shot.landmarks)
    assert geometry.rotated(shot, 15).tilt == pytest.approx(shot.tilt - 15)


def test_a_face_that_is_shrunk_has_the_stated_share_of_its_size(shot: Shot) -> None:
    for shrunk in (geometry.in_border(shot, 0.3), geometry.far_away(shot, 0.3), geometry.picture_in_picture(shot, 0.3)):
        assert shrunk.unit == pytest.approx(0.3 * shot.unit)
        assert shrunk.picture.shape == shot.picture.shape


def test_gamma_and_its_inverse_give_the_brightness_back(shot: Shot) -> None:
    back = disguise.gamma_corrected(disguise.gamma_corrected(shot, 0.45), 1 / 0.45)
    assert np.abs(back.picture.astype(int) - shot.picture).max() <= 3


def test_a_filter_of_ones_changes_nothing_and_grey_has_no_colour(shot: Shot) -> None:
    assert np.array_equal(disguise.tinted(shot, 1, 1, 1).picture, shot.picture)
    assert np.array_equal(disguise.gamma_corrected(shot, 1).picture, shot.picture)
    assert np.ptp(disguise.greyed(shot).picture, axis=2).max() == 0


def test_a_banner_or_sticker_covers_what_it_is_named_after_and_leaves_the_rest(shot: Shot) -> None:
    covered = {
        disguise.sticker_on_eyes: {0, 1},
        disguise.sticker_on_mouth: {3, 4},
        disguise.sticker_on_chin: set(),
        disguise.banner_over_lower_half: {2, 3, 4},
        disguise.banner_over_side: {1, 4},
    }
    for cover, hidden in covered.items():
        after = cover(shot)
        changed = {index for index in range(5) if np.abs(at(after, index) - at(shot, index)).max() > 40}
        assert changed - {2} == hidden - {2}, cover.__name__
        assert np.array_equal(after.landmarks, shot.landmarks)


def test_a_beauty_filter_changes_only_the_surroundings_of_the_face_and_keeps_eyes_and_mouth_in_place(
    shot: Shot,
) -> None:
    noisy = np.random.default_rng(1).integers(0, 60, shot.picture.shape, dtype=np.uint8) + shot.picture // 2
    before = shot.with_picture(noisy.astype(np.uint8))
    after = disguise.beautified(before)
    reach = round(2.7 * shot.unit)
    x, y = shot.nose.round().astype(int)
    outside = np.ones(shot.picture.shape[:2], bool)
    outside[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach] = False
    assert np.array_equal(after.picture[outside], before.picture[outside])
    spots = disguise.beautified(shot)
    for index in (0, 1, 3, 4):
        assert np.abs(at(spots, index) - COLOURS[index]).max() < 40


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_every_transformation_gives_a_picture_that_can_be_encoded_and_leaves_its_input_alone(
    shot: Shot, name: str
) -> None:
    before = shot.picture.copy()
    after = TRANSFORMATIONS[name].apply(shot)
    assert np.array_equal(shot.picture, before)
    assert after.width % 2 == 0
    assert after.height % 2 == 0


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_a_face_that_is_partly_outside_the_picture_stops_no_transformation(shot: Shot, name: str) -> None:
    for offset in ([-600, -280], [640, 400]):
        aside = Shot(picture=shot.picture, landmarks=shot.landmarks + offset)
        assert TRANSFORMATIONS[name].apply(aside).picture.size


def test_transformations_are_chosen_by_name_in_the_order_of_the_report() -> None:
    assert [one.name for one in chosen(["mirror", "as_is"])] == ["as_is", "mirror"]
    assert {one.name for one in chosen(QUICK)} == set(QUICK)


def test_an_unknown_transformation_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(MonitorError, match=r"'sideways' unknown; there are as_is, .*face_swap"):
        chosen(["mirror", "sideways"])
    with pytest.raises(MonitorError, match="names none; there are as_is"):
        chosen([])
