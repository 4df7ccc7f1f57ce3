"""The clips have the form that the live servers and the benchmark rely on, and show what they say."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from monitor.demo.clip import BIT_RATE, Clip, Picture, load_clip, write_clip
from monitor.demo.portraits import BIDEN, OBAMA_OFFICIAL, OBAMA_SENATE, Portrait
from monitor.demo.room_clip import appearing_clip
from monitor.demo.rooms import ROOMS, DemoRoom
from monitor.errors import ImageRefused, MonitorError
from monitor.faces.analyser import FaceAnalyser
from monitor.faces.face import Box

SHOP = ROOMS[0].shop


def pictures_of(clip: Clip, step: int) -> list[Picture]:
    with av.open(io.BytesIO(clip.template)) as container:
        frames = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    return frames[::step]


def test_a_rooms_clip_is_640_by_360_at_15_pictures_a_second_for_12_seconds(
    room: DemoRoom, room_clips: dict[str, Clip]
) -> None:
    clip = room_clips[room.name]
    assert clip.duration_s == 12.0
    assert len(clip.packets) == 180
    assert pictures_of(clip, 60)[0].shape == (360, 640, 3)


def test_a_clip_has_a_keyframe_every_two_seconds_and_nowhere_else(room: DemoRoom, room_clips: dict[str, Clip]) -> None:
    clip = room_clips[room.name]
    keyframes = [float(packet.pts * clip.time_base) for packet in clip.packets if packet.is_keyframe]
    assert keyframes == [0, 2, 4, 6, 8, 10]


def test_a_clip_has_500_kilobits_a_second(room: DemoRoom, room_clips: dict[str, Clip]) -> None:
    clip = room_clips[room.name]
    rate = sum(len(packet.data) for packet in clip.packets) * 8 / clip.duration_s
    assert rate == pytest.approx(BIT_RATE, rel=0.3)


def test_each_room_shows_one_face_of_the_promised_height(
    room: DemoRoom, room_clips: dict[str, Clip], analyser: FaceAnalyser
) -> None:
    for picture in pictures_of(room_clips[room.name], 30):
        faces = analyser.faces(picture)
        assert len(faces) == 1
        assert 90 <= faces[0].box.height <= 185


def test_a_loop_has_no_jump_larger_than_those_inside_it(clip: Clip) -> None:
    pictures = [picture.astype(np.int16)[:180, 200:440] for picture in pictures_of(clip, 1)]
    steps = [float(np.abs(b - a).mean()) for a, b in itertools.pairwise(pictures)]
    assert float(np.abs(pictures[0] - pictures[-1]).mean()) <= 1.3 * max(steps)


def test_rooms_with_the_protected_face_match_the_gallery_and_the_other_does_not(
    room_clips: dict[str, Clip], similarity: Callable[[Picture], float]
) -> None:
    for name, low, high in (("obama-fan-shop", 0.7, 1), ("obama-official", 0.7, 1), ("lamp-and-desk", -1, 0.25)):
        values = [similarity(picture) for picture in pictures_of(room_clips[name], 45)]
        assert low < min(values), name
        assert max(values) < high, name


def test_an_appearing_face_is_there_from_the_stated_picture_on_and_not_before(
    tmp_path: Path, decode: Callable[[Path], list[Picture]], analyser: FaceAnalyser
) -> None:
    path = tmp_path / "appearing.mp4"
    appears_at = appearing_clip(path, OBAMA_SENATE, SHOP, seconds_before=1.4, seconds_after=2.6)
    assert appears_at == pytest.approx(21 / 15)
    pictures = decode(path)
    assert len(pictures) == 60
    assert [len(analyser.faces(pictures[index])) for index in (0, 10, 19, 20, 21, 22, 59)] == [0, 0, 0, 0, 1, 1, 1]


def test_an_appearing_clip_that_could_not_be_looped_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="multiple of 2 s"):
        appearing_clip(tmp_path / "x.mp4", OBAMA_SENATE, SHOP, seconds_before=1, seconds_after=2)


def test_the_shipped_portraits_faces_are_where_they_are_said_to_be(analyser: FaceAnalyser) -> None:
    for portrait in (OBAMA_OFFICIAL, OBAMA_SENATE, BIDEN):
        (face,) = analyser.faces(portrait.read())
        assert face.box.overlap(portrait.face) > 0.85, portrait.path.name


def test_a_clip_that_fails_half_way_leaves_no_file(tmp_path: Path) -> None:
    def pictures() -> object:
        yield np.zeros((360, 640, 3), np.uint8)
        raise ImageRefused("gone")

    with pytest.raises(ImageRefused):
        write_clip(tmp_path / "clip.mp4", pictures())
    assert list(tmp_path.iterdir()) == []


def test_a_picture_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \(360, 640, 3\)"):
        write_clip(tmp_path / "clip.mp4", [np.zeros((360, 640, 4), np.uint8)])


def test_what_is_no_clip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "noise.mp4"
    path.write_bytes(b"no video at all" * 100)
    with pytest.raises(MonitorError, match=r"noise\.mp4: not a video clip"):
        load_clip(path)


def test_a_missing_portrait_is_named(tmp_path: Path) -> None:
    portrait = Portrait(path=tmp_path / "nobody.jpg", face=Box(x1=0, y1=0, x2=1, y2=1))
    with pytest.raises(ImageRefused, match=r"nobody\.jpg: not a readable image"):
        portrait.read()
