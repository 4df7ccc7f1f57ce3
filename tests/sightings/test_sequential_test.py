from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from support.rooms import PACK, Room, Shown, match

from monitor.gallery.calibration import IdentityScores
from monitor.gallery.calibration_defaults import default_calibration
from monitor.sightings.alert_budget import AlertBudget
from monitor.sightings.config import SightingsConfig
from monitor.sightings.evidence_limit import sized_test
from monitor.sightings.sequential_test import Comparison, best_run, correlations
from monitor.sightings.sighting import EvidenceVerdict
from monitor.sightings.track import burst_step

SFACE_PACK = replace(PACK, name="opencv-zoo", similarity_threshold=0.42, candidate_threshold=0.34, margin=0.08)
SFACE = default_calibration(SFACE_PACK)
BUDGET = SightingsConfig(alert_budget=AlertBudget(false_alerts_per_day=1, rooms=300, identities=1000))
TEST = sized_test(SFACE, BUDGET)


def room(config: SightingsConfig = BUDGET) -> Room:
    return Room(config, SFACE_PACK, sized_test(SFACE, config))


def compared(*similarities: float, step: float = 1.0) -> list[Comparison]:
    return [Comparison(stream_time=i * step, match=match("ann", s, 0.1)) for i, s in enumerate(similarities)]


def test_pictures_that_have_nothing_in_common_add_up() -> None:
    ratios = np.array([3.0, 4.0, 5.0])
    assert best_run(ratios, np.eye(3), 1) == pytest.approx(12)


def test_pictures_of_one_moment_are_worth_one_picture() -> None:
    ratios = np.full(20, 6.0)
    assert best_run(ratios, correlations(np.linspace(0, 0.01, 20), 0.75), 3) == pytest.approx(6.0, rel=0.01)


def test_pictures_of_one_face_far_apart_are_worth_little_more_than_one() -> None:
    """Persistence 0.75 bounds any number of pictures by 1 / 0.75."""
    ratios = np.full(60, 6.0)
    worth = best_run(ratios, correlations(np.arange(60.0) * 10, 0.75), 3) / 6
    assert 1.3 < worth < 1 / 0.75


def test_pictures_that_showed_somebody_else_before_do_not_count_against_the_person_now() -> None:
    now = TEST.log_likelihood(compared(0.8, 0.8, 0.8), "ann")
    assert TEST.log_likelihood(compared(*[0.05] * 10, 0.8, 0.8, 0.8), "ann") == pytest.approx(now)


def test_a_turned_head_between_clear_pictures_costs_little() -> None:
    assert TEST.log_likelihood(compared(0.8, 0.8, 0.1, 0.8, 0.8), "ann") > TEST.limit


def test_fewer_pictures_than_the_least_prove_nothing_however_clear() -> None:
    assert TEST.log_likelihood(compared(1.0, 1.0), "ann") == -np.inf
    assert TEST.log_likelihood(compared(1.0, 1.0, 1.0), "ann") > TEST.limit


def test_the_order_of_arrival_changes_nothing() -> None:
    chance = random.Random(11)
    for _ in range(50):
        comparisons = compared(*(chance.uniform(0, 0.9) for _ in range(8)))
        mixed = chance.sample(comparisons, len(comparisons))
        assert TEST.log_likelihood(mixed, "ann") == TEST.log_likelihood(comparisons, "ann")


def test_a_picture_that_is_closer_to_another_counts_by_the_runner_up_at_most() -> None:
    theirs = Comparison(stream_time=5, match=match("bob", 0.9, 0.2))
    assert theirs.similarity_to("bob") == 0.9
    assert theirs.similarity_to("somebody_else") == theirs.similarity_to("ann") == 0.2


def test_a_clear_face_is_alerted_with_its_third_picture_even_under_a_large_budget() -> None:
    seen = room()
    step = burst_step(BUDGET)
    assert seen.play([0.0, step], Shown(similarity=0.8))[0].verdict is EvidenceVerdict.TOO_FEW_SAMPLES
    (update,) = seen.show(2 * step, Shown(similarity=0.8))
    assert update.verdict is EvidenceVerdict.PASSED
    assert update.sighting.log_likelihood > update.sighting.log_likelihood_needed == TEST.limit
    assert update.sighting.seconds < 2.2


def test_a_look_alike_just_above_the_threshold_is_weak_evidence_for_as_long_as_it_stays() -> None:
    seen = room()
    for second in range(3, 600):
        (update,) = seen.show(second, Shown(similarity=0.45))
        assert update.sighting is None
    assert update.verdict is EvidenceVerdict.WEAK_EVIDENCE


def test_the_same_similarity_is_alerted_where_few_rooms_and_people_leave_little_to_chance() -> None:
    small = SightingsConfig(alert_budget=AlertBudget(false_alerts_per_day=1, rooms=1, identities=1))
    assert room(small).play([0, 1, 2], Shown(similarity=0.45))[0].verdict is EvidenceVerdict.PASSED


def test_an_identity_that_many_strangers_resemble_needs_more() -> None:
    popular = replace(SFACE, identities={"ann": IdentityScores(centre=0.2, spread=0.11, observations=9999)})
    plain, guarded = sized_test(SFACE, BUDGET), sized_test(popular, BUDGET)
    assert guarded.limit == plain.limit
    assert guarded.log_likelihood(compared(0.7, 0.7, 0.7), "ann") < plain.limit
    assert plain.log_likelihood(compared(0.7, 0.7, 0.7), "ann") > plain.limit


def test_a_face_that_left_without_resembling_anybody_is_handed_out_once_as_a_stranger() -> None:
    seen = Room()
    for second in range(5):
        seen.show(second, Shown(who=2, similarity=0.1, x=0), Shown(who=3, similarity=0.35, x=300), Shown(who=4, x=500))
    assert seen.tracker.take_strangers() == []
    seen.show(30)
    (stranger,) = seen.tracker.take_strangers()
    assert float(stranger @ Shown(who=2).face(999).embedding) > 0.8
    assert seen.tracker.take_strangers() == []


def test_a_face_seen_once_is_not_counted_as_a_stranger() -> None:
    seen = Room()
    seen.show(0, Shown(who=2, similarity=0.1))
    seen.show(30)
    assert seen.tracker.take_strangers() == []
