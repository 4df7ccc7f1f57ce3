"""Simulated strangers: false alerts against the budget that the evidence was sized from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from support.rooms import CALIBRATION, PACK, Room, Shown

from monitor.gallery.calibration import Calibration
from monitor.gallery.calibration_defaults import default_calibration
from monitor.gallery.calibration_fit import Observed, fit
from monitor.gallery.score_tail import Tail
from monitor.gallery.stranger_scores import StrangerScores
from monitor.sightings.alert_budget import AlertBudget
from monitor.sightings.config import SightingsConfig
from monitor.sightings.evidence_limit import StrangerTracks, draw_strangers, highest_evidence, sized_test
from monitor.sightings.sequential_test import Comparison
from monitor.sightings.sighting import EvidenceVerdict

MILLION = 1_000_000
SFACE = default_calibration(replace(PACK, name="opencv-zoo"))
OPEN = replace(PACK, similarity_threshold=-1.0, candidate_threshold=-1.0, margin=-1.0)
"""A pack whose thresholds stop nothing: what is left is the sequential test."""

Simulate = Callable[[np.random.Generator, int], StrangerTracks]


def budget(per_day: float, rooms: int = 1, identities: int = 1) -> SightingsConfig:
    return SightingsConfig(alert_budget=AlertBudget(false_alerts_per_day=per_day, rooms=rooms, identities=identities))


def alerts(simulate: Simulate, calibration: Calibration, config: SightingsConfig, tracks: int = MILLION) -> float:
    """Weighted number of tracks that pass."""
    chance, test, passed = np.random.default_rng(77), sized_test(calibration, config), 0.0
    for _ in range(tracks // 50_000):
        drawn = simulate(chance, 50_000)
        passed += float(drawn.weights[highest_evidence(drawn, calibration, config) >= test.limit].sum())
    return passed


def mapped(scores: np.ndarray, table: Callable[[float], float], low: float, high: float) -> np.ndarray:
    """``table`` of every one of ``scores``, by interpolation."""
    grid = np.linspace(low, high, 4001)
    return np.interp(scores, grid, [table(float(point)) for point in grid])


def similarities(tracks: StrangerTracks, strangers: StrangerScores) -> np.ndarray:
    """The cosines behind normal scores."""
    cosines = np.linspace(-0.6, 0.99, 8001)
    return np.interp(tracks.normal_scores, [strangers.normal_score(float(cosine)) for cosine in cosines], cosines)


def test_a_million_strangers_bring_the_budgets_false_alerts_within_a_factor_of_two() -> None:
    config = budget(per_day=0.144)
    assert config.alert_budget.alpha == pytest.approx(1e-4)
    passed = alerts(lambda chance, count: draw_strangers(chance, count, config, SFACE.persistence), SFACE, config)
    assert 50 <= passed <= 200


def test_a_calibration_fitted_to_twenty_thousand_strangers_keeps_the_budget_among_others() -> None:
    truth = StrangerScores(
        centre=0.07, spread=0.08, tail=Tail(threshold=0.24, exceedance=0.02, scale=0.03, shape=-0.02)
    )
    config, chance = budget(per_day=0.288), np.random.default_rng(3)
    seen = similarities(draw_strangers(chance, 20_000, config, 0.75), truth)[:, 0]
    fitted = fit(Observed(strangers=seen, matching=np.empty(0)), PACK, "simulated")

    def simulate(chance: np.random.Generator, count: int) -> StrangerTracks:
        drawn = draw_strangers(chance, count, config, 0.75)
        scores = mapped(similarities(drawn, truth), fitted.normal_score, -0.7, 1.0)
        return replace(drawn, normal_scores=scores)

    assert 50 <= alerts(simulate, fitted, config, MILLION // 2) <= 200


def shortened(tracks: StrangerTracks, pictures: int) -> StrangerTracks:
    scores, times = tracks.normal_scores[:, :pictures], tracks.stream_times[:pictures]
    return replace(tracks, normal_scores=scores, stream_times=times)


@pytest.mark.parametrize("per_day", [1.0, 1 / 7])
def test_the_rare_false_alerts_of_300_rooms_and_1000_people_are_within_a_factor_of_two(per_day: float) -> None:
    config = budget(per_day, rooms=300, identities=1000)
    alpha, tracks = config.alert_budget.alpha, 200_000

    def near(chance: np.random.Generator, count: int) -> StrangerTracks:
        return draw_strangers(chance, count, config, SFACE.persistence, near=alpha)

    per_day_found = alerts(near, SFACE, config, tracks) / tracks * config.alert_budget.tests_per_day
    assert per_day / 2 <= per_day_found <= per_day * 2


def test_a_thousand_simulated_tracks_are_decided_by_a_tracker_as_the_simulation_says() -> None:
    config = budget(per_day=1000.0)
    test = sized_test(CALIBRATION, config)
    tracks = shortened(draw_strangers(np.random.default_rng(9), 1000, config, CALIBRATION.persistence), 15)
    cosines = similarities(tracks, CALIBRATION.strangers)
    expected = highest_evidence(tracks, CALIBRATION, config)
    passed = 0
    for track, (shown, highest) in enumerate(zip(cosines, expected, strict=True)):
        found = _passes(Room(config, OPEN, test), tracks.stream_times, shown)
        assert found == (highest >= test.limit) or abs(highest - test.limit) < 0.01, track
        passed += found
    assert 100 < passed < 900, "both answers must be common for the comparison to say anything"


def _passes(room: Room, times: np.ndarray, cosines: np.ndarray) -> bool:
    for time, cosine in zip(times, cosines, strict=True):
        (update,) = room.show(float(time), Shown(similarity=float(cosine), runner_up=None))
        if update.verdict is EvidenceVerdict.PASSED:
            return True
    return False


def test_the_evidence_of_a_thousand_tracks_is_that_of_the_sequential_test_after_every_picture() -> None:
    config = budget(per_day=1.0)
    test = sized_test(SFACE, config)
    tracks = shortened(draw_strangers(np.random.default_rng(10), 1000, config, SFACE.persistence, near=1e-4), 12)
    cosines = similarities(tracks, SFACE.strangers)
    for shown, highest in zip(cosines, highest_evidence(tracks, SFACE, config), strict=True):
        comparisons = [
            Comparison(stream_time=float(time), match=Shown(similarity=float(cosine), runner_up=None).match)
            for time, cosine in zip(tracks.stream_times, shown, strict=True)
        ]
        values = [test.log_likelihood(comparisons[:count], "ann") for count in range(3, 13)]
        assert max(values) == pytest.approx(highest, abs=0.02)


def test_more_rooms_people_and_patience_ask_for_more_evidence() -> None:
    limits = [
        sized_test(SFACE, config).limit
        for config in (budget(1), budget(1, rooms=300), budget(1, rooms=300, identities=1000), budget(0.1, 300, 1000))
    ]
    assert limits == sorted(limits)
    assert limits[-1] - limits[0] > 10
    for config in (budget(1, 20, 20), budget(1, 300, 1000)):
        # Wald's log((1 - beta) / alpha), here with a beta of 0.05, is for independent steps without a restart. It is of
        # the same size: the simulation corrects it, it does not replace it.
        wald = math.log(0.95 / config.alert_budget.alpha)
        assert abs(sized_test(SFACE, config).limit - wald) < 4


@pytest.mark.parametrize(("samples", "seconds", "window"), [(2, 1, 5), (12, 60, 300), (3, 2, 3600), (12, 1, 5)])
def test_a_test_can_be_sized_for_every_extreme_of_the_settings(samples: int, seconds: float, window: float) -> None:
    config = SightingsConfig(min_samples=samples, min_seconds=seconds, evidence_window_s=window)
    assert np.isfinite(sized_test(SFACE, config).limit)
