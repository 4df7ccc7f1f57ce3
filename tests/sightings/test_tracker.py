"""One stream's tracker: faces followed through pictures, and their evidence."""

from __future__ import annotations

import gc
import itertools
import random
import weakref
from dataclasses import replace

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from support.rooms import BEGAN, Room, Shown, frame_at, look
from ulid import ULID

from monitor.faces.face import PictureFaces
from monitor.sightings.config import SightingsConfig
from monitor.sightings.metrics import SightingsMetrics
from monitor.sightings.sighting import EvidenceVerdict
from monitor.sightings.track import MAX_SAMPLES

ANN = Shown(who=1)
STRANGER = Shown(who=2, similarity=0.1)


def test_three_samples_over_two_seconds_make_a_sighting() -> None:
    room = Room()
    (first,) = room.show(10.0, ANN)
    (second,) = room.show(11.0, ANN)
    (third,) = room.show(12.0, ANN)
    assert [u.verdict for u in (first, second, third)] == [
        EvidenceVerdict.TOO_FEW_SAMPLES,
        EvidenceVerdict.TOO_FEW_SAMPLES,
        EvidenceVerdict.PASSED,
    ]
    assert first.sighting is second.sighting is None
    sighting = third.sighting
    assert sighting is not None
    assert third.begun
    assert (sighting.stream_id, sighting.identity_id) == ("room", "ann")
    assert (sighting.stream_time_first, sighting.stream_time_last, sighting.seconds) == (10.0, 12.0, 2.0)
    assert (sighting.last_seen - sighting.first_seen).total_seconds() == 2.0
    assert (sighting.samples_seen, sighting.samples_matched, len(sighting.samples)) == (3, 3, 3)
    assert ULID.from_str(sighting.id).datetime == sighting.first_seen


def test_later_samples_extend_the_sighting_with_a_new_object() -> None:
    room = Room()
    (begun,) = room.play([0, 1, 2], ANN)
    (extended,) = room.show(4, Shown(similarity=0.8))
    assert begun.sighting is not None
    assert extended.sighting is not None
    assert extended.sighting.id == begun.sighting.id
    assert not extended.begun
    assert (begun.sighting.stream_time_last, extended.sighting.stream_time_last) == (2, 4)
    assert (begun.sighting.best.match.best.similarity, extended.sighting.best.match.best.similarity) == (0.6, 0.8)
    assert extended.sighting.samples_matched == 4


@pytest.mark.parametrize(
    ("turned", "verdict"),
    [
        (Shown(similarity=0.2), EvidenceVerdict.NOBODY_PROTECTED),
        (Shown(similarity=0.35), EvidenceVerdict.BELOW_SIMILARITY),
        (Shown(similarity=0.6, runner_up=0.58), EvidenceVerdict.SMALL_MARGIN),
        (Shown(identity="bob"), EvidenceVerdict.BELOW_SIMILARITY),
    ],
)
def test_a_sample_that_no_longer_matches_neither_extends_nor_ends_the_sighting(turned, verdict) -> None:
    room = Room()
    (begun,) = room.play([0, 1, 2], ANN)
    (unmatched,) = room.show(3, turned)
    assert unmatched.verdict is verdict
    assert unmatched.sighting is None
    (again,) = room.show(4, ANN)
    assert again.sighting is not None
    assert again.sighting.id == begun.sighting.id
    assert (again.sighting.samples_seen, again.sighting.samples_matched) == (5, 4)


def test_a_burst_that_looks_back_and_then_forward_proves_as_samples_in_order_do() -> None:
    room = Room()
    assert room.show(10.0, ANN)[0].sighting is None
    assert room.show(8.95, ANN)[0].sighting is None
    (update,) = room.show(11.05, ANN)
    assert update.sighting is not None
    assert [sample.stream_time for sample in update.sighting.samples] == [8.95, 10.0, 11.05]
    assert (update.sighting.first_seen - BEGAN).total_seconds() == pytest.approx(8.95)


def test_the_order_in_which_samples_arrive_does_not_change_the_proof() -> None:
    chance = random.Random(7)
    for _ in range(50):
        times = sorted({round(chance.uniform(0, 6), 2) for _ in range(5)})
        shuffled = chance.sample(times, len(times))
        ordered, mixed = Room(), Room()
        (in_order,), (out_of_order,) = ordered.play(times, ANN), mixed.play(shuffled, ANN)
        assert in_order.verdict is out_of_order.verdict
        if in_order.sighting:
            assert [s.stream_time for s in out_of_order.sighting.samples] == times
            assert out_of_order.sighting.first_seen == in_order.sighting.first_seen


def test_another_person_in_the_same_place_is_another_track() -> None:
    room = Room()
    (ann,) = room.play([0, 1], ANN)
    (other,) = room.show(2, Shown(who=2))
    assert other.track_id != ann.track_id
    assert other.verdict is EvidenceVerdict.TOO_FEW_SAMPLES
    (back,) = room.show(3, ANN)
    assert back.track_id == ann.track_id
    assert back.verdict is EvidenceVerdict.PASSED


def test_a_face_that_moved_across_the_picture_stays_one_track() -> None:
    room = Room()
    ids = {room.show(t, Shown(x=x))[0].track_id for t, x in enumerate([0, 150, 300, 450])}
    assert len(ids) == 1


def test_a_face_that_slowly_turns_away_stays_one_track_because_neighbours_in_time_are_compared() -> None:
    room = Room()
    front, side = look(1, 1), look(2, 2)
    ids = set()
    order = [*range(0, 40, 2), *range(39, 20, -2)]  # forward, then what lies between, backwards
    for second in order:
        angle = second / 40 * np.pi / 2
        turned = np.cos(angle) * front + np.sin(angle) * side
        face = replace(ANN.face(1), embedding=(turned / np.linalg.norm(turned)).astype(np.float32))
        picture = PictureFaces(pts=second * 9_000, width=640, height=360, faces=(face,))
        ids.update(update.track_id for update in room.tracker.observe(frame_at(second / 10), picture, [ANN.match]))
    assert ids == {1}


def test_embeddings_of_faces_in_the_stream_are_forgotten_but_for_the_latest_few() -> None:
    room, alive = Room(), []
    for second in range(100):
        face = STRANGER.face(second)
        alive.append(weakref.ref(face.embedding))
        picture = PictureFaces(pts=second * 90_000, width=640, height=360, faces=(face,))
        room.tracker.observe(frame_at(second), picture, [STRANGER.match])
    del face, picture
    gc.collect()
    assert 0 < sum(embedding() is not None for embedding in alive) <= 8


def test_two_faces_make_two_tracks_and_each_its_own_evidence() -> None:
    room = Room()
    updates = room.play([0, 1, 2], Shown(x=0), Shown(who=3, x=300, identity="bob"), Shown(who=4, x=450, similarity=0.1))
    assert len({update.track_id for update in updates}) == 3
    assert [update.sighting and update.sighting.identity_id for update in updates] == ["ann", "bob", None]
    assert updates[2].verdict is EvidenceVerdict.NOBODY_PROTECTED


def test_two_faces_of_one_person_keep_their_tracks_by_place() -> None:
    room = Room()
    left, right = Shown(x=0), Shown(x=400)
    first = [update.track_id for update in room.show(0, left, right)]
    for second in range(1, 6):
        assert [update.track_id for update in room.show(second, left, right)] == first
        assert [update.track_id for update in room.show(second + 0.5, right, left)] == first[::-1]


def test_one_person_on_two_tracks_of_a_picture_is_one_sighting_the_better_one() -> None:
    room = Room()
    poster, live = Shown(x=0, similarity=0.5), Shown(x=400, similarity=0.7)
    updates = room.play([0, 1, 2], poster, live)
    assert [update.verdict for update in updates] == [EvidenceVerdict.PASSED] * 2
    assert updates[0].sighting is None
    assert updates[1].sighting is not None
    assert updates[1].begun
    (alone,) = room.show(3, poster)
    assert alone.sighting is not None
    assert alone.begun


def test_the_boxes_of_a_crowd_never_share_a_track_within_a_picture() -> None:
    chance = random.Random(8)
    room = Room()
    for second in range(60):
        people = [Shown(who=chance.randrange(1, 6), x=chance.uniform(0, 500)) for _ in range(chance.randrange(0, 9))]
        updates = room.show(second, *people)
        assert len(updates) == len(people)
        assert len({update.track_id for update in updates}) == len(people)
        proven = [update.sighting.identity_id for update in updates if update.sighting]
        assert len(proven) == len(set(proven))


def test_a_track_is_lost_after_its_time_and_the_face_needs_new_evidence() -> None:
    room = Room(SightingsConfig(track_lost_after_s=5))
    (begun,) = room.play([0, 1, 2], ANN)
    (late,) = room.show(6.9, ANN)
    assert late.sighting.id == begun.sighting.id
    room.show(10)
    (returned,) = room.show(12, ANN)
    assert returned.track_id != begun.track_id
    assert returned.verdict is EvidenceVerdict.TOO_FEW_SAMPLES
    assert room.play([13, 14], ANN)[0].sighting.id != begun.sighting.id


def test_a_sighting_that_nothing_matched_for_long_is_over_and_one_chance_match_does_not_revive_it() -> None:
    room = Room()
    (proven,) = room.play([0, 1, 2], Shown(similarity=0.9))
    assert proven.sighting is not None
    (unlike,) = room.play(range(4, 303, 2), Shown(similarity=0.2))
    assert unlike.track_id == proven.track_id
    (chance_match,) = room.show(304, Shown(similarity=0.41))
    assert chance_match.track_id == proven.track_id
    assert (chance_match.sighting, chance_match.verdict) == (None, EvidenceVerdict.TOO_FEW_SAMPLES)
    (again,) = room.play([305, 306], Shown(similarity=0.41))
    assert again.begun
    assert again.sighting is not None
    assert again.sighting.id != proven.sighting.id
    assert (again.sighting.stream_time_first, again.sighting.stream_time_last) == (304, 306)
    assert (again.sighting.samples_matched, again.sighting.best.match.best.similarity) == (3, 0.41)
    assert again.sighting.samples_seen == 149, "since the one before was over"


@pytest.mark.parametrize(("second", "same"), [(10.0, True), (10.1, False)])
def test_a_sighting_lasts_track_lost_after_s_without_a_match_and_no_longer(second: float, same: bool) -> None:
    room = Room(SightingsConfig(track_lost_after_s=8))
    room.play([0, 1, 2], ANN)
    room.play([4, 6, 8], Shown(similarity=0.2))
    (update,) = room.show(second, ANN)
    assert (update.sighting is not None) is same


def test_a_face_that_becomes_somebody_elses_is_a_sighting_of_theirs_once_the_first_is_over() -> None:
    room = Room()
    room.play([0, 1, 2], ANN)
    (update,) = room.play([4, 6, 8, 10, 12, 14, 16], Shown(identity="bob"))
    assert update.sighting is not None
    assert (update.sighting.identity_id, update.sighting.stream_time_first) == ("bob", 12)


def test_a_returning_likeness_causes_a_burst_so_that_the_new_proof_is_quick() -> None:
    room = Room()
    room.play([0, 1, 2], ANN)
    room.play(range(4, 61, 2), Shown(similarity=0.2))
    (update,) = room.show(62, ANN)
    while wanted := room.tracker.burst_wanted():
        (update,) = room.show(wanted[0], ANN)
    assert update.sighting is not None
    assert update.sighting.stream_time_last < 64


def test_a_new_epoch_starts_over_and_pictures_of_the_old_one_are_ignored() -> None:
    room = Room()
    room.play([100, 101], ANN)
    (update,) = room.show(0, ANN, epoch=2)
    assert update.verdict is EvidenceVerdict.TOO_FEW_SAMPLES
    assert room.show(102, ANN, epoch=1) == []
    assert room.show(1, ANN, epoch=2)[0].track_id == update.track_id
    assert room.show(2, ANN, epoch=2)[0].verdict is EvidenceVerdict.PASSED


def test_a_stream_time_that_once_ran_ahead_does_not_blind_the_tracker() -> None:
    room = Room()
    room.show(1, ANN)
    room.show(95_000, ANN)
    assert room.play([2, 3, 4], ANN)[0].verdict is EvidenceVerdict.PASSED


def test_a_picture_that_comes_twice_counts_once() -> None:
    room = Room()
    room.show(0, ANN)
    assert room.show(0, ANN) == []


def test_samples_close_together_do_not_hurry_the_proof() -> None:
    room = Room()
    (update,) = room.play([t / 10 for t in range(18)], ANN)
    assert update.verdict is EvidenceVerdict.TOO_FEW_SAMPLES


def test_chance_matches_far_apart_do_not_add_up() -> None:
    room = Room(SightingsConfig(evidence_window_s=20))
    lookalike = Shown(similarity=0.2)
    for second in range(0, 240):
        (update,) = room.show(second, Shown(similarity=0.45) if second % 15 == 0 else lookalike)
        assert update.sighting is None
    assert update.track_id == 1


def test_faces_that_were_not_embedded_bring_no_update() -> None:
    room = Room()
    updates = room.show(0, Shown(embedded=False), ANN)
    assert len(updates) == 1
    assert updates[0].match.best.identity_id == "ann"


def test_an_empty_gallery_is_nobody_protected() -> None:
    room = Room()
    picture = PictureFaces(pts=0, width=640, height=360, faces=(ANN.face(1),))
    (update,) = room.tracker.observe(frame_at(0), picture, [None])
    assert (update.verdict, update.match) == (EvidenceVerdict.NOBODY_PROTECTED, None)


def test_matches_that_do_not_fit_the_faces_are_refused() -> None:
    with pytest.raises(ValueError, match="0 matches for 1 faces"):
        Room().tracker.observe(frame_at(0), PictureFaces(pts=0, width=1, height=1, faces=(ANN.face(1),)), [])


def test_the_utc_of_a_sample_is_when_its_own_packet_arrived() -> None:
    room = Room()
    gop = frame_at(0.0, 1.0, 2.0)
    for second in (0.0, 1.0, 2.0):
        (update,) = room.show(second, ANN, frame=gop)
    assert update.sighting.first_seen == BEGAN
    assert (update.sighting.last_seen - BEGAN).total_seconds() == 2.0


def test_encoded_pictures_of_faces_that_resemble_nobody_are_never_kept() -> None:
    room = Room()
    frames = [frame_at(second) for second in range(20)]
    for second, frame in enumerate(frames):
        room.show(second, STRANGER, frame=frame)
    assert kept(room, frames) == 0


def test_encoded_pictures_of_a_candidate_are_kept_up_to_a_bound_and_go_with_the_track() -> None:
    room = Room(SightingsConfig(evidence_window_s=300))
    frames = [frame_at(second) for second in range(200)]
    for second, frame in enumerate(frames):
        (update,) = room.show(second, Shown(similarity=0.9 if second == 77 else 0.5), frame=frame)
    sighting = update.sighting
    assert len(sighting.samples) == MAX_SAMPLES
    times = [sample.stream_time for sample in sighting.samples]
    assert (times[0], times[-1]) == (0, 199)
    assert 77 in times
    assert sighting.best.stream_time == 77
    assert max(later - sooner for sooner, later in itertools.pairwise(times)) < 60
    assert (sighting.samples_seen, sighting.samples_matched) == (200, 200)
    assert kept(room, frames) == MAX_SAMPLES
    del update, sighting
    room.show(230)
    assert kept(room, frames) == 0


def kept(room: Room, frames: list) -> int:
    """How many of ``frames`` anything that the tracker holds still refers to."""
    wanted = {id(frame) for frame in frames}
    found, seen, open_ = set(), set(), [room.tracker]
    while open_:
        thing = open_.pop()
        if id(thing) in seen or isinstance(thing, type):
            continue
        seen.add(id(thing))
        if id(thing) in wanted:
            found.add(id(thing))
            continue
        open_.extend(gc.get_referents(thing))
    return len(found)


def test_the_number_of_tracks_is_bounded_and_a_sighting_outlives_a_crowd() -> None:
    room = Room()
    (begun,) = room.play([0, 1, 2], ANN)
    for round_ in range(3):
        room.show(3 + round_ / 4, *(Shown(who=10 + 40 * round_ + i, x=i * 3, similarity=0.1) for i in range(40)))
    (again,) = room.show(5, ANN)
    assert again.sighting.id == begun.sighting.id


def test_metrics_count_verdicts_and_sightings_begun() -> None:
    registry = CollectorRegistry()
    metrics, room = SightingsMetrics(registry), Room()
    for second in range(5):
        metrics.count(room.show(second, ANN, Shown(who=2, x=400, similarity=0.1)))
    verdicts = {
        verdict: registry.get_sample_value("monitor_evidence_verdicts_total", {"verdict": verdict})
        for verdict in EvidenceVerdict
    }
    assert verdicts == {
        "passed": 3,
        "nobody_protected": 5,
        "look_alike": 0,
        "too_few_samples": 2,
        "below_similarity": 0,
        "small_margin": 0,
        "too_short": 0,
        "weak_evidence": 0,
    }
    assert registry.get_sample_value("monitor_sightings_total", {"presence": "presenter"}) == 1
