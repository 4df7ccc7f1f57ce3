"""Pictures that have not changed are not searched again, and a face in them goes on being seen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest
from faces.pictures import Picture, room_picture
from prometheus_client import CollectorRegistry

from monitor.faces.config import FacesConfig
from monitor.faces.luma import is_same, luma_hash
from monitor.faces.metrics import FacesMetrics
from monitor.faces.pool import VisionPool
from monitor.faces.still import StillFaces
from monitor.streams.packet import EncodedFrame

ClipMaker = Callable[..., EncodedFrame]


@pytest.fixture(scope="module")
def room(portraits: dict[str, Picture]) -> Picture:
    return room_picture(portraits["obama_official_portrait"])


@pytest.fixture
async def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def pool(faces_config: FacesConfig, registry: CollectorRegistry) -> AsyncIterator[VisionPool]:
    pool = VisionPool(faces_config, FacesMetrics(registry))
    await pool.start()
    try:
        yield pool
    finally:
        await pool.aclose()


def encoded_again(picture: Picture, quality: int) -> Picture:
    """The picture as another encoding of it looks."""
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def hash_of(picture: Picture) -> bytes:
    """Of the luma as a stream carries it, 16 to 235."""
    height, width = picture.shape[:2]
    even = picture[: height // 2 * 2, : width // 2 * 2]
    return luma_hash(np.asarray(cv2.cvtColor(even, cv2.COLOR_BGR2YUV_I420)[: even.shape[0]], np.uint8))


@pytest.mark.parametrize("quality", [95, 80, 60])
def test_another_encoding_of_a_picture_has_the_same_hash(room: Picture, quality: int) -> None:
    assert is_same(hash_of(room), hash_of(encoded_again(room, quality)))


def test_a_face_that_moves_by_a_hundredth_of_the_width_or_is_another_changes_the_hash(
    portraits: dict[str, Picture], room: Picture
) -> None:
    moved = room.copy()
    moved[:, 6:] = room[:, :-6]
    other = room_picture(portraits["astronaut"])
    smaller = np.ascontiguousarray(room[::2, ::2])
    before = hash_of(room)
    assert not is_same(before, hash_of(moved))
    assert not is_same(before, hash_of(other))
    assert not is_same(before, hash_of(smaller))
    assert not is_same(before, b"")
    assert len(before) == 260


async def test_a_frozen_picture_is_searched_once_and_its_faces_are_given_each_time(
    pool: VisionPool, registry: CollectorRegistry, make_clip: ClipMaker, room: Picture
) -> None:
    still = StillFaces(pool)
    frame = make_clip([room])
    first = (await still.analyse(frame))[0]
    assert len(first.faces) == 1
    again = make_clip([encoded_again(room, 90)], instants=(0,))
    later = replace(again, packets=tuple(replace(item, pts=90_000) for item in again.packets), instants=(90_000,))
    for _ in range(5):
        (picture,) = await still.analyse(later)
        assert picture.pts == 90_000
        assert picture.faces == first.faces
        assert picture.unchanged
    assert registry.get_sample_value("monitor_faces_pictures_total") == 1
    assert registry.get_sample_value("monitor_faces_unchanged_pictures_total") == 5


async def test_pictures_of_a_burst_that_show_the_same_are_searched_once(
    pool: VisionPool, registry: CollectorRegistry, make_clip: ClipMaker, room: Picture
) -> None:
    frame = make_clip([room] * 30, instants=(0, 30_000, 87_000))
    pictures = await StillFaces(pool).analyse(frame)
    assert [picture.pts for picture in pictures] == [0, 30_000, 87_000]
    assert all(len(picture.faces) == 1 for picture in pictures)


async def test_a_picture_that_changed_is_searched(
    pool: VisionPool, registry: CollectorRegistry, make_clip: ClipMaker, portraits: dict[str, Picture], room: Picture
) -> None:
    still = StillFaces(pool)
    names: Sequence[Picture] = (room, room_picture(portraits["astronaut"]), room)
    similarities = []
    for picture in names:
        ((face,),) = [found.faces for found in await still.analyse(make_clip([picture]))]
        similarities.append(face.embedding)
    assert float(similarities[0] @ similarities[1]) < 0.35
    assert float(similarities[0] @ similarities[2]) > 0.99
    assert registry.get_sample_value("monitor_faces_unchanged_pictures_total") == 0


async def test_a_still_picture_is_searched_again_now_and_then(
    pool: VisionPool, registry: CollectorRegistry, make_clip: ClipMaker, room: Picture
) -> None:
    still = StillFaces(pool)
    frame = make_clip([room])
    for _ in range(20):
        await still.analyse(frame)
    assert registry.get_sample_value("monitor_faces_pictures_total") == 2


async def test_a_keyframe_of_quite_another_size_is_searched_even_if_its_brightness_is_the_same(
    pool: VisionPool, registry: CollectorRegistry, make_clip: ClipMaker, room: Picture
) -> None:
    still = StillFaces(pool)
    blurred = cv2.GaussianBlur(room, (0, 0), 4)
    await still.analyse(make_clip([np.asarray(blurred, np.uint8)]))
    await still.analyse(make_clip([room]))
    assert registry.get_sample_value("monitor_faces_pictures_total") == 2
