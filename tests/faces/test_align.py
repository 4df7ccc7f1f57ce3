"""Alignment is the least-squares similarity, the same as InsightFace's."""

from __future__ import annotations

import warnings

import cv2
import numpy as np
import pytest
from insightface.utils import face_align

from monitor.faces.align import TEMPLATE, aligned_crops, similarities


def _norm_crop(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-image deprecates what InsightFace calls.
        return face_align.norm_crop(picture, landmarks)


def _random_faces(count: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    faces = []
    for _ in range(count):
        angle, scale = rng.uniform(-3, 3), rng.uniform(0.3, 8)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        faces.append(TEMPLATE @ turn.T + rng.uniform(-200, 900, 2) + rng.normal(0, 3 * scale, (5, 2)))
    return np.array(faces, np.float32)


def test_a_similarity_maps_the_template_onto_itself() -> None:
    matrix = similarities(TEMPLATE[None].astype(np.float32))[0]
    np.testing.assert_allclose(matrix, [[1, 0, 0], [0, 1, 0]], atol=1e-5)


def test_no_other_similarity_brings_the_landmarks_closer_to_the_template() -> None:
    rng = np.random.default_rng(4)
    for landmarks, matrix in zip(faces := _random_faces(20), similarities(faces), strict=True):

        def error(candidate: np.ndarray, points: np.ndarray = landmarks) -> float:
            return float(((points @ candidate[:, :2].T + candidate[:, 2] - TEMPLATE) ** 2).sum())

        best = error(matrix)
        a, b, x, y = matrix[0, 0], matrix[1, 0], matrix[0, 2], matrix[1, 2]
        for da, db, dx, dy in rng.normal(0, [1e-3, 1e-3, 0.5, 0.5], (50, 4)):
            other = np.array([[a + da, -(b + db), x + dx], [b + db, a + da, y + dy]])
            assert error(other) >= best - 1e-9


def test_crops_equal_those_of_insightface(portraits: dict[str, np.ndarray]) -> None:
    picture = portraits["astronaut"]
    faces = _random_faces(12)
    for landmarks, crop in zip(faces, aligned_crops(picture, similarities(faces)), strict=True):
        theirs = _norm_crop(picture, landmarks)
        assert np.abs(crop.astype(int) - theirs.astype(int)).mean() < 0.2


def test_a_crop_shows_the_landmarks_where_the_template_has_them() -> None:
    picture = np.zeros((400, 400, 3), np.uint8)
    landmarks = (TEMPLATE * 2 + 60).astype(np.float32)
    for x, y in landmarks:
        cv2.circle(picture, (round(float(x)), round(float(y))), 6, (255, 255, 255), -1)
    (crop,) = aligned_crops(picture, similarities(landmarks[None]))
    for x, y in TEMPLATE:
        assert crop[round(y), round(x)].min() > 200


def test_landmarks_on_one_point_are_refused() -> None:
    with pytest.raises(ValueError, match="one point"):
        similarities(np.full((1, 5, 2), 7, np.float32))


def test_a_wrong_shape_is_named() -> None:
    with pytest.raises(ValueError, match=r"\(5, 2\), expected \(n, 5, 2\)"):
        similarities(np.zeros((5, 2), np.float32))
