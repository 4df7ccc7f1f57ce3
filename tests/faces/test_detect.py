"""A picture is brought to the detector's size once, in its own aspect, and what is found lies where it was."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from monitor.faces.detect import NONE_FOUND, Detections, Planes, fit, merged, restored
from monitor.faces.yunet import OUTPUTS, decoded

SIZES = [(1280, 720), (720, 1280), (1920, 1080), (854, 480), (1281, 721), (640, 360), (176, 144), (3000, 1), (1, 3000)]


def _soft(width: int, height: int) -> np.ndarray:
    """A picture without fine detail, so that every good way to scale it gives nearly the same."""
    cells = np.random.default_rng(7).integers(0, 256, (9, 16, 3), dtype=np.uint8)
    return cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_picture_keeps_its_aspect_and_fits_a_canvas_of_whole_cells(width: int, height: int) -> None:
    fitted = fit(_soft(width, height), 640)
    assert max(fitted.picture.shape[:2]) == 640
    assert fitted.picture.shape[1] == max(1, round(width * 640 / max(width, height)))
    for canvas, shown in zip(fitted.canvas_size, fitted.picture.shape[1::-1], strict=True):
        assert canvas % 32 == 0
        assert 0 <= canvas - shown < 32
    assert (fitted.scale_x, fitted.scale_y) == (
        fitted.picture.shape[1] / width,
        fitted.picture.shape[0] / height,
    )


def test_sixteen_to_nine_is_searched_at_640_by_384() -> None:
    assert fit(_soft(1280, 720), 640).canvas_size == (640, 384)


@pytest.mark.parametrize(("width", "height"), [size for size in SIZES if min(size) > 1])
def test_scaling_in_steps_gives_what_scaling_at_once_gives(width: int, height: int) -> None:
    picture = _soft(width, height)
    fine = fit(picture, 640)
    for fitted in (fine, fit(picture, 160, fine)):
        size = fitted.picture.shape[1::-1]
        averaged = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if size[0] < width else cv2.INTER_LINEAR)
        assert np.abs(fitted.picture.astype(int) - averaged.astype(int)).mean() < 2
    assert fit(picture, 160, fine).scale_x == fit(picture, 160).scale_x


def test_fine_stripes_become_grey_and_not_other_stripes() -> None:
    stripes = np.zeros((720, 1280, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.ptp(fit(stripes, 640).picture) <= 2


def test_planes_are_opencvs_blob_of_the_canvas_also_after_a_larger_picture() -> None:
    planes = Planes(640)
    for width, height, side in [
        (720, 1280, 640),
        (1280, 720, 640),
        (1000, 1000, 640),
        (300, 500, 160),
        (854, 480, 640),
    ]:
        fitted = fit(np.maximum(_soft(width, height), 1), side)
        expected = cv2.dnn.blobFromImage(fitted.on_canvas(fitted.canvas_size))
        np.testing.assert_array_equal(planes.of(fitted), expected)


def test_what_was_found_is_given_in_the_whole_pictures_pixels() -> None:
    fitted = fit(_soft(1280, 720), 160)
    box = np.array([[10, 20, 30, 40]], np.float32)
    points = np.arange(10, dtype=np.float32).reshape(1, 5, 2)
    found = restored(Detections(boxes=box, landmarks=points, det_scores=np.ones(1, np.float32)), fitted)
    np.testing.assert_allclose(found.boxes, box * 8)
    np.testing.assert_allclose(found.landmarks, points * 8)


def test_of_overlapping_finds_the_best_stays_and_nothing_merged_is_nothing() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]], np.float32)
    many = Detections(
        boxes=boxes, landmarks=np.zeros((3, 5, 2), np.float32), det_scores=np.array([0.7, 0.9, 0.6], np.float32)
    )
    np.testing.assert_array_equal(merged([many]).boxes, boxes[[1, 2]])
    assert len(merged([])) == len(merged([NONE_FOUND, NONE_FOUND])) == 0


def test_a_cell_is_decoded_as_yunet_defines_it() -> None:
    """Stride 16 of a 64 x 32 input: four by two cells; the one in the second row and third column sees a face."""
    shapes = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    values = {}
    for name in OUTPUTS:
        head, stride = name.split("_")
        values[name] = np.zeros((1, (64 // int(stride)) * (32 // int(stride)), shapes[head]), np.float32)
    values["cls_16"][0, 6], values["obj_16"][0, 6] = 0.9, 0.4
    values["bbox_16"][0, 6] = [0.5, 0.25, np.log(2), np.log(3)]
    values["kps_16"][0, 6] = np.arange(10) / 10
    # Just below what is reported.
    values["cls_16"][0, 1], values["obj_16"][0, 1] = 0.49, 0.5
    (found,) = decoded([values[name] for name in OUTPUTS], 64)
    assert found.det_scores == pytest.approx([0.6])
    np.testing.assert_allclose(found.boxes, [[40 - 16, 20 - 24, 40 + 16, 20 + 24]], atol=1e-4)
    np.testing.assert_allclose(found.landmarks[0, :, 0], (2 + np.arange(0, 10, 2) / 10) * 16, rtol=1e-6)
    np.testing.assert_allclose(found.landmarks[0, :, 1], (1 + np.arange(1, 10, 2) / 10) * 16, rtol=1e-6)
