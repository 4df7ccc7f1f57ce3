"""Bursts: the pictures that a tracker asks for to decide a candidate."""

from __future__ import annotations

import pytest
from support.rooms import Room, Shown

from monitor.sightings.config import SightingsConfig
from monitor.sightings.track import burst_step

ANN = Shown(who=1)
STRANGER = Shown(who=2, similarity=0.1)


def test_a_first_candidate_asks_for_one_picture_before_and_the_next_ones_after() -> None:
    room = Room()
    assert room.tracker.burst_wanted() == ()
    room.show(10.0, ANN)
    step = burst_step(room.config)
    assert step == pytest.approx(1.05)
    assert room.tracker.burst_wanted() == pytest.approx((10 - step, 10 + step, 10 + 2 * step, 10 + 3 * step))
    room.show(10 - step, ANN)
    assert room.tracker.burst_wanted() == pytest.approx((10 + step, 10 + 2 * step, 10 + 3 * step))
    room.show(10 + step, ANN)
    assert room.tracker.burst_wanted() == ()


def test_a_burst_alone_proves_in_two_steps_without_the_regular_samples() -> None:
    room = Room()
    room.show(10.0, ANN)
    looked = 0
    while wanted := room.tracker.burst_wanted():
        (update,) = room.show(wanted[0], ANN)
        looked += 1
    assert looked == 2
    assert update.sighting is not None


@pytest.mark.parametrize(
    "config", [SightingsConfig(min_samples=n, min_seconds=s) for n in (2, 3, 5) for s in (1, 2, 6)]
)
def test_a_burst_proves_whatever_the_settings_are(config: SightingsConfig) -> None:
    room = Room(config.model_copy(update={"burst_samples": 8}))
    (update,) = room.show(50.0, ANN)
    while wanted := room.tracker.burst_wanted():
        (update,) = room.show(wanted[0], ANN)
    assert update.sighting is not None


def test_nothing_is_asked_for_a_face_that_resembles_nobody_or_when_bursts_are_off() -> None:
    room = Room()
    room.show(1, STRANGER)
    assert room.tracker.burst_wanted() == ()
    off = Room(SightingsConfig(burst_samples=0))
    off.show(1, ANN)
    assert off.tracker.burst_wanted() == ()


def test_a_burst_ends_when_most_of_its_pictures_show_no_candidate() -> None:
    room = Room()
    room.show(10, Shown(similarity=0.31))
    for _ in range(2):
        room.show(room.tracker.burst_wanted()[0], Shown(similarity=0.1))
    assert room.tracker.burst_wanted() == ()


def test_instants_that_the_stream_left_behind_are_not_asked_for_again() -> None:
    room = Room()
    room.show(10, ANN)
    room.show(14, Shown(similarity=0.31))
    assert all(moment > 12 for moment in room.tracker.burst_wanted())
    room.show(17, Shown(similarity=0.31))
    assert room.tracker.burst_wanted() == ()


def test_a_picture_that_was_looked_at_anyway_is_not_asked_for() -> None:
    room = Room()
    room.show(8.9, STRANGER)
    room.show(10.0, ANN)
    assert min(room.tracker.burst_wanted()) > 10


def test_the_same_face_causes_another_burst_only_after_a_rest_and_only_when_it_matches() -> None:
    room = Room(SightingsConfig(burst_rest_s=10))
    room.show(0, Shown(similarity=0.31))
    for second in range(2, 9, 2):
        room.show(second, Shown(similarity=0.2))
    room.show(9, Shown(similarity=0.5))
    assert room.tracker.burst_wanted() == ()
    room.show(11, Shown(similarity=0.31))
    assert room.tracker.burst_wanted() == ()
    room.show(13, Shown(similarity=0.5))
    assert room.tracker.burst_wanted() != ()


def test_two_candidates_in_one_picture_share_the_burst() -> None:
    room = Room()
    room.show(10, ANN, Shown(who=3, x=400, identity="bob"))
    assert len(room.tracker.burst_wanted()) == room.config.burst_samples
