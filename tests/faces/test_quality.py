"""What is measured of a face, what it is worth in one number, and what the gate makes of it."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from faces.pictures import Picture, carphone_pictures, room_picture
from numpy.typing import NDArray
from scipy.stats import spearmanr

from monitor.faces.align import TEMPLATE, aligned_crops, similarities
from monitor.faces.analyser import FaceAnalyser
from monitor.faces.config import FacesConfig
from monitor.faces.face import QUALITY_WEIGHTS, Box, Face, Quality, QualityFactor
from monitor.faces.gate import GateVerdict, judge
from monitor.faces.pose import orthonormal, pose_of
from monitor.faces.quality import measure

GOOD = Quality(sharpness=300.0, brightness=120.0, height_px=120.0)
CONFIG = FacesConfig()
BOX = Box(x1=0, y1=0, x2=100, y2=120)


def largest(analyser: FaceAnalyser, picture: Picture) -> Face:
    return max(analyser.faces(picture), key=lambda face: face.box.height)


def test_the_weights_are_shares_of_one_and_a_good_face_is_worth_one() -> None:
    assert set(QUALITY_WEIGHTS) == set(QualityFactor)
    measured = [weight for name, weight in QUALITY_WEIGHTS.items() if name is not QualityFactor.CLARITY]
    assert math.fsum(measured) == 1.0
    assert GOOD.value == replace(GOOD, clarity=0.5).value == 1.0


def test_without_a_quality_network_a_face_is_worth_exactly_what_six_factors_make_of_it() -> None:
    weights = (0.15, 0.25, 0.1, 0.15, 0.1, 0.25)
    worths = np.random.default_rng(8)
    for _ in range(200):
        sharpness, brightness, height_px, residual, yaw, pitch, inside = worths.uniform(
            [12, 5, 20, 0.0, -60, -50, 0.45], [200, 230, 100, 0.3, 60, 50, 1.0]
        ).tolist()
        quality = Quality(
            sharpness=sharpness,
            brightness=brightness,
            height_px=height_px,
            landmark_residual=residual,
            yaw=yaw,
            pitch=pitch,
            inside=inside,
        )
        factors = tuple(quality.factors.values())
        assert quality.value == math.prod(math.pow(*pair) for pair in zip(factors, weights, strict=True))


def test_clarity_is_a_fifth_of_the_quality_and_of_a_good_face_alone_refuses_only_the_hopeless() -> None:
    weak = replace(GOOD, inside=0.6)
    assert replace(weak, clarity=0.25).value == pytest.approx(weak.value**0.8 * 0.5**0.2)
    assert judge(BOX, 0.9, replace(GOOD, clarity=0.05), CONFIG) is GateVerdict.EMBEDDED
    assert judge(BOX, 0.9, replace(GOOD, clarity=0.0), CONFIG) is GateVerdict.UNCLEAR
    poor = replace(GOOD, sharpness=13, inside=0.5, clarity=0.05)
    assert judge(BOX, 0.9, poor, CONFIG.model_copy(update={"min_quality": 0.5})) is GateVerdict.UNCLEAR


WORSE = [
    ("height_px", [80, 50, 30, 20, 12], GateVerdict.TOO_SMALL),
    ("sharpness", [100, 50, 20, 13, 4], GateVerdict.BLURRED),
    ("brightness", [40, 30, 15, 6, 3], GateVerdict.BADLY_LIT),
    ("brightness", [200, 220, 240, 250, 252], GateVerdict.BADLY_LIT),
    ("yaw", [0, 30, 60, 80, 95], GateVerdict.TURNED_AWAY),
    ("yaw", [0, -30, -60, -80, -95], GateVerdict.TURNED_AWAY),
    ("pitch", [0, 20, 50, 70, 90.1], GateVerdict.TURNED_AWAY),
    ("landmark_residual", [0.1, 0.2, 0.3, 0.35, 0.4], GateVerdict.DISTORTED),
    ("inside", [0.8, 0.7, 0.6, 0.5, 0.4], GateVerdict.CUT_OFF),
    ("clarity", [0.5, 0.4, 0.3, 0.1, 0.0], GateVerdict.UNCLEAR),
]


@pytest.mark.parametrize(("name", "values", "reason"), WORSE)
def test_each_measurement_alone_lowers_the_quality_down_to_hopeless_and_is_the_gates_reason(
    name: str, values: list[float], reason: GateVerdict
) -> None:
    worths = [replace(GOOD, **{name: value}).value for value in values]
    assert worths == sorted(worths, reverse=True)
    assert (worths[0], worths[-1]) == (1.0, 0.0)
    # Without the older limits on height and sharpness, so that the whole is what refuses.
    lenient = CONFIG.model_copy(update={"min_sharpness": 0.0})
    assert judge(BOX, 0.9, replace(GOOD, **{name: values[-1]}), lenient) is reason
    assert judge(BOX, 0.9, replace(GOOD, **{name: values[1]}), lenient) is GateVerdict.EMBEDDED


def test_of_several_weaknesses_the_one_that_harms_most_is_named() -> None:
    weak = replace(GOOD, height_px=30, sharpness=14, inside=0.42, brightness=20)
    strict = CONFIG.model_copy(update={"min_quality": 0.6})
    assert judge(BOX, 0.9, weak, strict) is GateVerdict.CUT_OFF
    assert judge(BOX, 0.9, weak, CONFIG.model_copy(update={"min_quality": 0.0})) is GateVerdict.EMBEDDED


def test_the_older_limits_come_first() -> None:
    hopeless = replace(GOOD, sharpness=1.0, inside=0.0)
    assert judge(Box(x1=0, y1=0, x2=9, y2=9), 0.9, hopeless, CONFIG) is GateVerdict.TOO_SMALL
    assert judge(BOX, 0.2, hopeless, CONFIG) is GateVerdict.LOW_DET_SCORE
    assert judge(BOX, 0.9, hopeless, CONFIG) is GateVerdict.BLURRED


def test_the_template_itself_is_a_frontal_face_that_fits() -> None:
    landmarks = (TEMPLATE * 1.5 + 40).astype(np.float32)
    picture = np.full((400, 400, 3), 120, np.uint8)
    (crop,) = aligned_crops(picture, similarities(landmarks[np.newaxis]))
    quality = measure(crop, landmarks, similarities(landmarks[np.newaxis])[0], BOX, (400, 400))
    assert quality.landmark_residual == pytest.approx(0, abs=1e-4)
    assert (quality.yaw, quality.pitch, quality.roll) == pytest.approx((0, 0, 0), abs=0.01)
    assert (quality.inside, quality.brightness, quality.sharpness) == pytest.approx((1.0, 120.0, 0.0))
    assert quality.height_px == 120


def inside_of(landmarks: NDArray[np.float32]) -> float:
    matrix = similarities(landmarks[np.newaxis])[0]
    return measure(np.zeros((112, 112, 3), np.uint8), landmarks, matrix, BOX, (400, 400)).inside


@pytest.mark.parametrize("seed", range(20))
def test_the_pose_is_that_of_the_nearest_rotation(seed: int) -> None:
    """By singular values, as the paper has it; the product finds it in closed form."""
    projection = np.random.default_rng(seed).normal(size=(2, 3))
    left, _, right = np.linalg.svd(projection, full_matrices=False)
    np.testing.assert_allclose(orthonormal(projection), left @ right, atol=1e-9)


def test_landmarks_on_one_line_have_a_pose() -> None:
    line = np.stack([np.arange(5.0), 2 * np.arange(5.0)], axis=1).astype(np.float32)
    found = pose_of(line)
    assert all(math.isfinite(angle) for angle in (found.yaw, found.pitch, found.roll))


@pytest.mark.parametrize(("shift", "inside"), [(0, 1.0), (-28, 0.75), (-56, 0.5), (-112, 0.0)])
def test_inside_is_the_share_of_the_crop_that_the_picture_covers(shift: float, inside: float) -> None:
    landmarks = (TEMPLATE + np.array([shift, 0])).astype(np.float32)
    assert inside_of(landmarks) == pytest.approx(inside, abs=1e-3)


def test_a_tilted_face_at_an_edge_is_measured_by_its_own_square() -> None:
    angle = math.radians(45)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    landmarks = ((TEMPLATE - 56) @ turn.T + [0, 200]).astype(np.float32)
    assert inside_of(landmarks) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("roll", [-40, -10, 0, 25, 90])
def test_roll_is_the_angle_in_the_picture_and_changes_neither_yaw_nor_pitch(roll: float) -> None:
    angle = math.radians(roll)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    turned = TEMPLATE.copy()
    turned[2] += [6, -4]  # the nose, as of a head that looks to the picture's right and up
    before, after = pose_of(turned.astype(np.float32)), pose_of((turned @ turn.T * 2 + 300).astype(np.float32))
    assert after.roll - before.roll == pytest.approx(roll, abs=0.01)
    assert (after.yaw, after.pitch) == pytest.approx((before.yaw, before.pitch), abs=0.01)
    assert before.yaw > 10
    assert before.pitch > 5


def test_a_mirrored_portrait_looks_the_other_way(analyser: FaceAnalyser, portraits: dict[str, Picture]) -> None:
    """Biden's portrait is taken a little from the side."""
    photo = portraits["biden_white_house"]
    seen, mirrored = (largest(analyser, np.ascontiguousarray(one)).quality for one in (photo, photo[:, ::-1]))
    assert seen.yaw > 8
    assert mirrored.yaw == pytest.approx(-seen.yaw, abs=8)
    assert mirrored.pitch == pytest.approx(seen.pitch, abs=10)


def test_a_portrait_tilted_in_the_picture_is_seen_to_be_tilted_that_way(
    analyser: FaceAnalyser, portraits: dict[str, Picture]
) -> None:
    picture = room_picture(portraits["obama_official_portrait"])
    rolls = []
    for degrees in (-15, 0, 15):  # clockwise
        matrix = cv2.getRotationMatrix2D((320.0, 90.0), -degrees, 1)
        tilted = np.asarray(cv2.warpAffine(picture, matrix, (640, 360)), np.uint8)
        rolls.append(largest(analyser, tilted).quality.roll)
    assert np.diff(rolls).min() > 2


def _spoilt(picture: Picture) -> list[Picture]:
    """Smaller, more blurred, darker, and with less of the face in the picture, step by step."""
    pictures = [picture]
    for scale in (0.6, 0.4, 0.3, 0.22):
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        pictures.append(cv2.copyMakeBorder(small, 40, 40, 40, 40, cv2.BORDER_CONSTANT, value=(90, 90, 90)))
    pictures += [cv2.GaussianBlur(picture, (0, 0), sigma) for sigma in (1, 2, 3, 4, 6)]
    pictures += [cv2.convertScaleAbs(picture, alpha=gain) for gain in (0.4, 0.2, 0.1, 0.05)]
    return [np.asarray(one, np.uint8) for one in pictures]


def test_faces_of_higher_quality_resemble_their_reference_more(
    analyser: FaceAnalyser, portraits: dict[str, Picture]
) -> None:
    lenient = FaceAnalyser(
        analyser.info,
        analyser._detector,
        analyser._recogniser,
        CONFIG.model_copy(update={"min_face_px": 16, "min_sharpness": 0, "min_det_score": 0.5, "min_quality": 0}),
    )
    driver = [np.asarray(cv2.resize(one, None, fx=2.0, fy=2.0), np.uint8) for one in carphone_pictures()[::20]]
    pairs = [
        (room_picture(portraits["obama_official_portrait"]), room_picture(portraits["obama_senate_portrait"])),
        (driver[0], driver[2]),
    ]
    worths, similarities = [], []
    for known, seen in pairs:
        reference = largest(lenient, known).embedding
        assert reference is not None
        for spoilt in _spoilt(seen):
            for face in sorted(lenient.faces(spoilt), key=lambda one: -one.box.height)[:1]:
                assert face.embedding is not None
                worths.append(face.quality.value)
                similarities.append(float(face.embedding @ reference))
    assert len(worths) > 24
    assert spearmanr(worths, similarities).statistic > 0.7
