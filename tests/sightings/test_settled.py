"""Which tracks are settled, and what a settled room costs and hides; before prepared faces and the real networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from support import scenes
from support.rooms import PACK, Room, Shown, frame_at

from monitor.demo.clip import Picture
from monitor.demo.face_swap import open_detector, swapped_heads
from monitor.demo.portraits import OBAMA_OFFICIAL, OBAMA_SENATE, Portrait
from monitor.faces.analyser import FaceAnalyser
from monitor.faces.face import Face, PictureFaces
from monitor.faces.luma import is_cut, luma_hash
from monitor.gallery.identity import Reference
from monitor.gallery.matcher import Matcher
from monitor.sightings.config import SightingsConfig
from monitor.sightings.sequential_test import SequentialTest
from monitor.sightings.sighting import EvidenceVerdict
from monitor.sightings.tracker import Tracker, TrackUpdate

STRANGER = Shown(who=2, similarity=0.1)


def settled_at(room: Room, second: float, epoch: int = 1) -> int:
    """How many faces are settled in a picture of that time."""
    settled = room.tracker.settled(frame_at(second, epoch=epoch))
    return len({face.number for face in settled.faces}) if settled else 0


def test_a_stranger_is_settled_after_two_pictures_until_the_interval_is_over() -> None:
    room = Room()
    assert settled_at(room, 0) == 0
    room.show(0, STRANGER)
    assert settled_at(room, 2) == 0
    room.show(2, STRANGER)
    assert [settled_at(room, second) for second in (4, 6, 7.9, 8, 9)] == [1, 1, 1, 0, 0]


def test_two_pictures_of_one_moment_settle_nobody() -> None:
    room = Room()
    room.play((0, 0.2, 0.4), STRANGER)
    assert settled_at(room, 0.6) == 0
    room.show(1.0, STRANGER)
    assert settled_at(room, 1.2) == 1


def test_with_an_interval_of_nought_nobody_is_ever_settled() -> None:
    room = Room(config=SightingsConfig(reembed_interval_s=0))
    for second in range(5):
        room.show(second, STRANGER)
        assert settled_at(room, second + 0.5) == 0


@pytest.mark.parametrize(
    ("why", "once"),
    [
        ("a candidate", replace(STRANGER, similarity=0.31)),
        ("nearly a candidate", replace(STRANGER, similarity=0.28)),
        ("a look-alike", replace(STRANGER, similarity=0.6, look_alike=0.7)),
    ],
)
def test_a_face_that_came_near_somebody_protected_once_is_embedded_every_time(why: str, once: Shown) -> None:
    room = Room()
    room.play((0, 2), STRANGER)
    room.show(4, once)
    for second in range(6, 20, 2):
        assert settled_at(room, second) == 0, why
        room.show(second, STRANGER)


def test_a_sighting_is_embedded_every_time_and_so_is_a_candidate_after_it_was_given_up() -> None:
    room, beside = Room(), replace(STRANGER, x=450.0)
    for second in range(0, 12, 2):
        ann, _ = room.show(second, Shown(), beside)
    assert ann.sighting is not None
    for second in range(12, 60, 2):
        room.show(second, replace(Shown(), similarity=0.1), beside)
        settled = room.tracker.settled(frame_at(second + 1.0))
        assert settled is not None, "the one beside them is"
        assert ann.track_id not in {face.number for face in settled.faces}


def test_who_left_or_belongs_to_another_connection_or_time_is_not_settled() -> None:
    room = Room(config=SightingsConfig(reembed_interval_s=60))
    room.play((10, 12), STRANGER)
    assert settled_at(room, 14) == 1
    assert settled_at(room, 14, epoch=2) == 0
    assert settled_at(room, 21) == 0
    assert settled_at(room, 11) == 0


def spared(shown: Shown, number: int | None) -> Face:
    return replace(shown.face(99), embedding=None, settled=number)


def test_a_spared_face_keeps_its_track_where_it_moves_and_brings_no_verdict() -> None:
    room = Room()
    (first,) = room.play((0, 2), STRANGER)
    for second, x in ((4, 240.0), (6, 300.0), (8, 360.0)):
        face = spared(replace(STRANGER, x=x), first.track_id)
        picture = PictureFaces(pts=second * 90_000, width=640, height=360, faces=(face,))
        assert room.tracker.observe(frame_at(second), picture, [None]) == []
    assert settled_at(room, 7.9) == 1
    (again,) = room.show(10, replace(STRANGER, x=360.0))
    assert (again.track_id, again.verdict) == (first.track_id, EvidenceVerdict.NOBODY_PROTECTED)
    (place,) = {face.box.x1 for face in room.tracker.settled(frame_at(12.0)).faces}
    assert place == 360.0
    room.tracker.end()
    assert len(room.tracker.take_strangers()) == 1


def test_a_track_that_was_spared_is_nobody_elses_in_that_picture() -> None:
    room = Room()
    (first,) = room.play((0, 2), STRANGER)
    faces = (spared(STRANGER, first.track_id), STRANGER.face(5))
    picture = PictureFaces(pts=4 * 90_000, width=640, height=360, faces=faces)
    (other,) = room.tracker.observe(frame_at(4.0), picture, [None, STRANGER.match])
    assert other.track_id != first.track_id


class Watch:
    """A room before the networks and a tracker, as a worker and a stream's path would look at it."""

    def __init__(
        self, analyser: FaceAnalyser, test: SequentialTest, enrolled: Sequence[Reference], interval_s: float = 6.0
    ) -> None:
        self._analyser, self._matcher = analyser, Matcher(list(enrolled))
        self.tracker = Tracker("room", analyser.info, SightingsConfig(reembed_interval_s=interval_s), test)
        self.embedded: list[float] = []
        self._noise = np.random.default_rng(3)

    def look(self, second: float, picture: Picture) -> list[TrackUpdate]:
        noisy = np.clip(picture + self._noise.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)
        height, width = noisy.shape[:2]
        luma = luma_hash(np.asarray(cv2.cvtColor(noisy, cv2.COLOR_BGR2YUV_I420)[:height], np.uint8))
        settled = self.tracker.settled(frame_at(second))
        spare = settled is not None and not is_cut(settled.luma, luma)
        faces = self._analyser.faces(noisy, settled.faces if spare and settled else ())
        if any(face.embedding is not None for face in faces):
            self.embedded.append(second)
        shown = PictureFaces(pts=round(second * 90_000), width=width, height=height, faces=faces, luma=luma)
        matches = [None if f.embedding is None else self._matcher.match_all(f.embedding[None])[0] for f in faces]
        return self.tracker.observe(frame_at(second), shown, matches)


@pytest.fixture
def watched(analyser: FaceAnalyser, sequential_test: SequentialTest, enrolled: list[Reference]) -> Callable[..., Watch]:
    return lambda interval_s=6.0: Watch(analyser, sequential_test, enrolled, interval_s)


def in_room(portrait: Picture, ground: int = 90) -> Picture:
    scale = 360 / portrait.shape[0]
    shown = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    picture = np.full((360, 640, 3), ground, np.uint8)
    left = (640 - shown.shape[1]) // 2
    picture[:, left : left + shown.shape[1]] = shown
    return picture


@pytest.fixture(scope="module")
def stranger() -> Picture:
    return in_room(np.ascontiguousarray(skimage.data.astronaut()[:, :, ::-1]))


def test_of_a_stranger_who_sits_still_one_picture_in_six_is_embedded_and_all_without_an_interval(
    watched: Callable[..., Watch], stranger: Picture
) -> None:
    room, thorough = watched(), watched(0.0)
    tracks = {update.track_id for second in range(26) for update in room.look(second, stranger)}
    assert room.embedded == [0, 1, 7, 13, 19, 25]
    assert len(tracks) == 1
    for second in range(6):
        thorough.look(second, stranger)
    assert thorough.embedded == list(range(6))


def test_somebody_protected_who_follows_a_stranger_after_a_cut_is_embedded_at_once(
    watched: Callable[..., Watch], stranger: Picture
) -> None:
    room = watched()
    for second in range(4):
        room.look(second, stranger)
    assert room.embedded == [0, 1]
    (update,) = room.look(4, in_room(OBAMA_OFFICIAL.read(), ground=160))
    assert update.match is not None
    assert update.match.best.identity_id == "obama"


@pytest.mark.parametrize("portrait", [OBAMA_OFFICIAL, OBAMA_SENATE], ids=["official", "senate"])
def test_a_protected_face_that_is_switched_on_over_a_strangers_without_a_cut_is_embedded_at_once(
    watched: Callable[..., Watch], networks_dir: Path, portrait: Portrait
) -> None:
    """The same head in the same car, turned as before: software lays another face on it between two pictures."""
    before = scenes.staged(scenes.real_head()[:40:2])
    after = scenes.staged(swapped_heads(portrait, 20, open_detector(networks_dir)))
    spared_before = 0
    for turn in (3, 8, 13):
        room = watched()
        for second in (0, 1, 2):
            room.look(second, before[turn])
        spared_before += 2 not in room.embedded
        updates = room.look(3, after[turn])
        assert [update.match.best.identity_id for update in updates if update.match] == ["obama"]
    assert spared_before == 3


def test_whoever_cannot_be_told_from_a_settled_face_is_embedded_when_the_interval_is_over() -> None:
    """The worst case, whatever a worker says: the face is not among the settled ones any more."""
    room = Room(pack=PACK)
    (first,) = room.play((0, 2), STRANGER)
    for second in range(4, 8, 2):
        picture = PictureFaces(pts=second * 90_000, width=640, height=360, faces=(spared(STRANGER, first.track_id),))
        room.tracker.observe(frame_at(second), picture, [None])
    assert settled_at(room, 8) == 0
    updates = room.play((8, 9, 10, 11), Shown())
    assert updates[0].sighting is not None
