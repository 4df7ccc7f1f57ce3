"""The swapped room shows the protected face, and its original does not."""

from __future__ import annotations

import importlib.metadata
import io
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from monitor.demo import carphone
from monitor.demo.clip import Clip, Picture
from monitor.demo.face_swap import HEAD_SIZE, find_landmarks, make_swap_clip, match_colour
from monitor.demo.portraits import OBAMA_SENATE
from monitor.demo.rooms import ROOMS
from monitor.errors import MonitorError
from monitor.faces.detect import Detector


def test_the_swapped_face_matches_the_protected_person(
    room_clips: dict[str, Clip], similarity: Callable[[Picture], float]
) -> None:
    with av.open(io.BytesIO(room_clips["gadget-deals-88"].template)) as container:
        pictures = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    values = [similarity(picture) for picture in pictures[::10]]
    assert np.mean(values) > 0.5
    assert min(values) > 0.42


def test_the_head_that_was_swapped_on_to_does_not_match_without_the_swap(
    similarity: Callable[[Picture], float],
) -> None:
    heads = carphone.carphone_pictures(12, *HEAD_SIZE)
    assert max(similarity(head) for head in heads) < 0.25


def test_the_swapped_head_moves(room_clips: dict[str, Clip], detector: Detector) -> None:
    with av.open(io.BytesIO(room_clips["gadget-deals-88"].template)) as container:
        pictures = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    noses = np.array([find_landmarks(detector, picture)[2] for picture in pictures[:90:15]])
    assert np.ptp(noses[:, 0]) > 40


def test_colour_matching_brings_the_mean_colour_of_the_area() -> None:
    source = np.full((20, 20, 3), (40, 60, 90), np.uint8)
    target = np.full((20, 20, 3), (120, 150, 180), np.uint8)
    area = np.zeros((20, 20), np.uint8)
    area[5:15, 5:15] = 255
    assert np.abs(match_colour(source, target, area).astype(int) - target).max() <= 2


def test_a_missing_sample_clip_names_the_remedy(
    tmp_path: Path, networks_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carphone, "CARRIER", "a-package-that-nobody-installed")
    with pytest.raises(MonitorError, match=r"not installed: .*pip install \.\[demo\]"):
        make_swap_clip(tmp_path / "swap.mp4", OBAMA_SENATE, ROOMS[3].shop, networks_dir=networks_dir)


def test_a_package_without_the_sample_clip_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert importlib.metadata.files("pytest")
    monkeypatch.setattr(carphone, "CARRIER", "pytest")
    with pytest.raises(MonitorError, match=r"has no carphone_pristine\.mp4: .*pip install \.\[demo\]"):
        carphone.carphone_path()


def test_a_picture_without_a_face_is_an_error(detector: Detector) -> None:
    with pytest.raises(MonitorError, match="no face was found"):
        find_landmarks(detector, np.zeros((360, 440, 3), np.uint8))
