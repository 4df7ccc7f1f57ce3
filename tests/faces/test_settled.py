"""Faces that were embedded shortly before are recognised by what they look like, and only they."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from faces.pictures import Picture, carphone_pictures, recompressed, room_picture
from prometheus_client import CollectorRegistry

from monitor.demo.face_swap import HEAD_SIZE, open_detector, swapped_heads
from monitor.demo.portraits import BIDEN, OBAMA_OFFICIAL, OBAMA_SENATE, Portrait
from monitor.faces.analyser import FaceAnalyser
from monitor.faces.config import FacesConfig
from monitor.faces.face import Box, Face, PictureFaces, Settled, SettledFace
from monitor.faces.luma import is_cut, luma_hash
from monitor.faces.metrics import FacesMetrics
from monitor.faces.pool import VisionPool
from monitor.faces.settled import recognised, spared
from monitor.faces.still import StillFaces
from monitor.streams.packet import EncodedFrame

ClipMaker = Callable[..., EncodedFrame]


def known(face: Face, number: int = 7) -> SettledFace:
    """The face as its tracker would describe it."""
    return SettledFace(number=number, box=face.box, quality=face.quality, grid=face.grid)


def luma_of(picture: Picture) -> bytes:
    return luma_hash(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)[: len(picture)], np.uint8))


@pytest.fixture(scope="module")
def room(portraits: dict[str, Picture]) -> Picture:
    return room_picture(portraits["astronaut"])


@pytest.fixture(scope="module")
def face(analyser: FaceAnalyser, room: Picture) -> Face:
    (found,) = analyser.faces(room)
    return found


def test_the_same_face_in_a_noisy_picture_is_not_embedded_again_and_keeps_its_grid(
    analyser: FaceAnalyser, room: Picture, face: Face
) -> None:
    noisy = np.clip(room + np.random.default_rng(1).normal(0, 4, room.shape), 0, 255).astype(np.uint8)
    (again,) = analyser.faces(noisy, [known(face)])
    assert (again.embedding, again.settled) == (None, 7)
    assert len(again.grid) == len(face.grid)
    (anew,) = analyser.faces(noisy)
    assert anew.settled is None
    assert anew.embedding is not None


@pytest.mark.parametrize(
    ("change", "motion"),
    [
        ("turned by 35 degrees", cv2.getRotationMatrix2D((320, 120), 35, 1.0)),
        ("nearer by half", cv2.getRotationMatrix2D((320, 120), 0, 1.5)),
        ("gone to the side", np.array([[1.0, 0, 200], [0, 1.0, 0]])),
    ],
)
def test_a_face_that_turned_or_came_nearer_or_moved_away_is_embedded(
    analyser: FaceAnalyser, room: Picture, face: Face, change: str, motion: np.ndarray
) -> None:
    moved = np.asarray(cv2.warpAffine(room, motion, (640, 360), borderValue=(90, 90, 90)), np.uint8)
    found = analyser.faces(moved, [known(face)])
    assert [(one.settled, one.embedding is None) for one in found] == [(None, False)], change


@pytest.mark.parametrize("axis", ["yaw", "pitch", "roll"])
def test_a_face_that_looks_alike_but_is_turned_by_more_than_landmarks_tremble_is_not_recognised(
    face: Face, axis: str
) -> None:
    before = getattr(face.quality, axis)
    for degrees, same in ((15.0, True), (-15.0, True), (25.0, False), (-25.0, False)):
        turned = replace(known(face), quality=replace(face.quality, **{axis: before + degrees}))
        assert bool(recognised([turned], {0: face})) is same


def test_a_face_that_is_clearer_than_before_is_embedded(analyser: FaceAnalyser, room: Picture, face: Face) -> None:
    poor = replace(face.quality, sharpness=15.0)
    assert face.quality.value > poor.value + 0.1
    (again,) = analyser.faces(room, [replace(known(face), quality=poor)])
    assert again.embedding is not None


def test_of_two_faces_in_one_place_only_one_is_the_settled_one(face: Face) -> None:
    beside = replace(face, box=Box(x1=face.box.x1 + 5, y1=face.box.y1, x2=face.box.x2 + 5, y2=face.box.y2))
    assert recognised([known(face)], {0: beside, 1: face}) == {1: 7}
    assert recognised([known(face, 1), known(face, 2)], {0: face}).keys() == {0}


def test_a_face_without_a_grid_is_never_taken_for_settled(face: Face) -> None:
    assert recognised([known(face)], {0: face}) == {0: 7}
    assert recognised([replace(known(face), grid=b"")], {0: face}) == {}
    assert recognised([known(face)], {0: replace(face, grid=b"")}) == {}


@pytest.mark.parametrize("portrait", [OBAMA_OFFICIAL, OBAMA_SENATE, BIDEN], ids=["official", "senate", "biden"])
def test_another_persons_face_laid_on_the_same_head_is_embedded_at_once(
    analyser: FaceAnalyser, faces_config: FacesConfig, portrait: Portrait
) -> None:
    """Place, size and pose stay: what tells them apart is what they look like."""
    heads = [np.asarray(cv2.resize(one, HEAD_SIZE), np.uint8) for one in carphone_pictures()[:80:8]]
    worn = swapped_heads(portrait, 10, open_detector(faces_config.cache_dir))
    real, fake = (
        [analyser.faces(one)[0] for one in recompressed(pictures, HEAD_SIZE, bits_per_s=500_000, mirrored=False)]
        for pictures in (heads, worn)
    )
    pairs = [(one, other) for one in range(10) for other in range(10)]
    taken = [recognised([known(real[one])], {0: fake[other]}) for one, other in pairs]
    assert not any(taken)
    # It is not that nothing is ever recognised: of the same head's neighbouring pictures most are.
    same = [bool(recognised([known(real[one])], {0: real[one + 1]})) for one in range(9)]
    assert sum(same) >= 5


def test_a_scene_cut_is_told_from_a_noisy_picture(room: Picture) -> None:
    assert is_cut(luma_of(room), luma_of(np.asarray(255 - room, np.uint8)))
    assert is_cut(luma_of(room), luma_of(np.ascontiguousarray(room[::2, ::2])))
    assert is_cut(b"", b"")
    noisy = np.clip(room + np.random.default_rng(1).normal(0, 4, room.shape), 0, 255).astype(np.uint8)
    assert not is_cut(luma_of(room), luma_of(noisy))


def test_sparing_what_was_embedded_already_is_what_a_worker_would_have_done(
    analyser: FaceAnalyser, room: Picture, face: Face
) -> None:
    picture = PictureFaces(pts=0, width=640, height=360, faces=analyser.faces(room), luma=luma_of(room))
    settled = Settled(faces=(known(face),), luma=luma_of(room))
    (would,) = analyser.faces(room, settled.faces)
    (kept,) = spared(picture, settled).faces
    assert (kept.embedding, kept.settled) == (would.embedding, would.settled) == (None, 7)
    assert spared(picture, None) is picture
    cut = replace(settled, luma=luma_of(np.asarray(255 - room, np.uint8)))
    assert spared(picture, cut) is picture


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


async def test_a_worker_spares_a_settled_face_but_not_after_a_cut_and_both_are_counted(
    pool: VisionPool, registry: CollectorRegistry, make_clip: ClipMaker, room: Picture, face: Face
) -> None:
    def count(verdict: str) -> float:
        return registry.get_sample_value("monitor_faces_found_total", {"verdict": verdict}) or 0.0

    frame = make_clip([room])
    (first,) = await pool.analyse(frame)
    settled = Settled(faces=(known(first.faces[0]),), luma=first.luma)
    (second,) = await pool.analyse(frame, None, settled)
    assert [(one.settled, one.embedding) for one in second.faces] == [(7, None)]
    assert (count("embedded"), count("settled")) == (1, 1)
    dark = luma_of(np.zeros_like(room))
    (third,) = await pool.analyse(frame, None, replace(settled, luma=dark))
    assert third.faces[0].embedding is not None
    assert (count("embedded"), count("settled")) == (2, 1)


async def test_a_frozen_picture_is_searched_again_once_its_face_is_not_settled_any_more(
    pool: VisionPool, registry: CollectorRegistry, make_clip: ClipMaker, room: Picture
) -> None:
    still = StillFaces(pool)
    frame = make_clip([room])
    (first,) = await pool.analyse(frame)
    settled = Settled(faces=(known(first.faces[0]),), luma=first.luma)
    spared_once = (await still.analyse(frame, settled))[0]
    assert spared_once.faces[0].settled == 7
    assert (await still.analyse(frame, settled))[0].unchanged
    (due,) = await still.analyse(frame, None)
    assert not due.unchanged
    assert due.faces[0].embedding is not None
    # Its embedding is known now, and given each time.
    (later,) = await still.analyse(frame, None)
    assert later.unchanged
    assert later.faces == due.faces
