from __future__ import annotations

import itertools
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from support.gallery import PACK

from monitor.errors import GalleryError
from monitor.gallery.calibration import Calibration, IdentityScores, MatchingScores
from monitor.gallery.calibration_defaults import default_calibration
from monitor.gallery.calibration_fit import LEAST_OBSERVATIONS, Observed, fit
from monitor.gallery.photo_pairs import alike, observe
from monitor.gallery.score_tail import Tail, fit_cut_tail, fit_tail

TRUTH = NormalDist(0.09, 0.085)
NONE = np.empty(0)
SFACE = default_calibration(replace(PACK, name="opencv-zoo"))
ARCFACE = default_calibration(replace(PACK, name="buffalo_l"))


def strangers(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(TRUTH.mean, TRUTH.stdev, count)


def photos(people: int, count: int = 1, seed: int = 2, alike: float = 1.2) -> dict[str, list[np.ndarray]]:
    """Embeddings of ``people`` with ``count`` photos each: cosine 1 / (1 + alike**-2) within, about 0 between."""
    chance = np.random.default_rng(seed)
    found = {}
    for person in range(people):
        self_ = chance.standard_normal(64)
        looks = [alike * self_ + chance.standard_normal(64) for _ in range(count)]
        found[f"p{person:03}"] = [(look / np.linalg.norm(look)).astype(np.float32) for look in looks]
    return found


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.2])
def test_a_generalised_pareto_tail_is_found_again_by_its_moments(shape: float) -> None:
    uniform = np.random.default_rng(3).uniform(size=40_000)
    excess = -0.04 * np.log(uniform) if shape == 0 else 0.04 * (uniform**-shape - 1) / shape
    tail = fit_tail(np.concatenate([0.25 + excess[:2_000], np.linspace(-0.3, 0.25, 38_000)]), share=0.05)
    assert tail.threshold == pytest.approx(0.25, abs=1e-3)
    assert tail.shape == pytest.approx(shape, abs=0.08)
    assert tail.scale == pytest.approx(0.04, rel=0.15)


def test_a_tail_that_was_cut_is_extrapolated_and_not_taken_for_an_end() -> None:
    excess = np.random.default_rng(4).exponential(0.03, 200_000)
    whole = np.concatenate([0.25 + excess[:10_000], np.linspace(-0.3, 0.25, 190_000)])
    cut = fit_cut_tail(whole[whole < 0.34], share=0.05, cut=0.34)
    assert cut.scale == pytest.approx(0.03, rel=0.1)
    for similarity in (0.3, 0.4, 0.45):
        assert cut.survival(similarity) == pytest.approx((whole > similarity).mean(), rel=0.4)


@pytest.mark.parametrize("fitted_to", [fit_tail, lambda values, share: fit_cut_tail(values, share, 0.9)])
def test_a_tail_of_too_few_similarities_is_refused(fitted_to) -> None:
    with pytest.raises(ValueError, match="19 similarities in the tail, at least 20 needed"):
        fitted_to(strangers(190), 0.1)


@pytest.mark.parametrize(("count", "factor"), [(5_000, 8), (200_000, 2)])
def test_a_fit_to_strangers_foretells_rates_beyond_what_was_seen(count: int, factor: float) -> None:
    fitted = fit(Observed(strangers=strangers(count), matching=NONE), PACK, "test")
    for similarity in (0.1, 0.25, 0.34, 0.42, 0.5):
        true = 1 - TRUTH.cdf(similarity)
        assert true / factor <= fitted.false_match_rate(similarity) <= true * factor


def test_traffic_without_its_candidates_gives_rates_that_are_too_high_rather_than_too_low() -> None:
    seen = strangers(200_000)
    fitted = fit(Observed(strangers=seen[seen < 0.34], matching=NONE, cut=0.34), PACK, "test")
    for similarity in (0.34, 0.42, 0.5, 0.6):
        true = 1 - TRUTH.cdf(similarity)
        assert true * 0.7 <= fitted.false_match_rate(similarity) <= true * 1000


@pytest.mark.parametrize("calibration", [SFACE, ARCFACE])
def test_rates_fall_normal_scores_and_likelihoods_rise_over_the_whole_scale(calibration: Calibration) -> None:
    scale = [float(similarity) for similarity in np.linspace(-1, 1, 801)]
    for lower, higher in itertools.pairwise(scale):
        assert calibration.false_match_rate(lower) >= calibration.false_match_rate(higher) > 0
        assert calibration.normal_score(lower) <= calibration.normal_score(higher)
        assert calibration.log_likelihood_ratio(lower) <= calibration.log_likelihood_ratio(higher)
    assert calibration.log_likelihood_ratio(0.0) < 0 < 20 < calibration.log_likelihood_ratio(0.7)


def test_a_normal_score_says_how_rare_a_similarity_is_among_strangers() -> None:
    for similarity in (0.2, 0.4, 0.6):
        rate = SFACE.false_match_rate(similarity)
        assert NormalDist().cdf(-SFACE.normal_score(similarity)) == pytest.approx(rate, rel=1e-6)
        assert SFACE.similarity_at(rate) == pytest.approx(similarity, abs=1e-6)


def test_the_built_in_figures_agree_with_what_they_are_said_to_come_from() -> None:
    assert 1 / SFACE.false_match_rate(0.355) == pytest.approx(1090, rel=0.02)
    assert 1 / SFACE.false_match_rate(0.363) == pytest.approx(1500, rel=0.02)
    assert ARCFACE.false_match_rate(0.408) == pytest.approx(1e-6, rel=0.3)


def test_a_spread_of_the_person_below_that_of_strangers_never_makes_a_higher_similarity_count_less() -> None:
    narrow = replace(SFACE, matching=MatchingScores(centre=0.6, spread=0.02))
    ratios = [narrow.log_likelihood_ratio(float(similarity)) for similarity in np.linspace(-1, 1, 401)]
    assert ratios == sorted(ratios)


def test_a_person_whom_many_resemble_has_a_higher_threshold_for_the_same_rate() -> None:
    popular = IdentityScores(centre=0.15, spread=0.1, observations=5000)
    calibration = replace(SFACE, identities={"ann": popular})
    assert calibration.similarity_at(1e-5, "ann") > calibration.similarity_at(1e-5, "bob") + 0.05
    assert calibration.similarity_at(1e-5, "bob") == calibration.similarity_at(1e-5)
    assert calibration.false_match_rate(calibration.similarity_at(1e-5, "ann"), "ann") == pytest.approx(1e-5, rel=1e-3)
    assert calibration.log_likelihood_ratio(0.5, "ann") < calibration.log_likelihood_ratio(0.5, "bob")


def test_an_identity_is_shrunk_towards_the_pack_where_it_was_observed_little() -> None:
    own = strangers(20_000) + 0.05
    centres = []
    for count in (29, 30, 1000, 20_000):
        observed = Observed(strangers=strangers(5_000), matching=NONE, by_identity={"ann": own[:count]})
        scores = fit(observed, PACK, "test").identities.get("ann")
        centres.append(scores and scores.centre)
    assert centres[0] is None
    assert 0.09 < centres[1] < 0.11 < centres[2] < centres[3]
    assert centres[3] == pytest.approx(0.14, abs=0.005)


@pytest.mark.parametrize("own", [strangers(5_000) + 0.3, strangers(5_000) - 0.3, strangers(5_000) * 3, [0.2] * 5_000])
def test_few_people_who_come_back_often_do_not_make_a_threshold_absurd(own) -> None:
    observed = Observed(strangers=strangers(5_000), matching=NONE, by_identity={"ann": np.asarray(own)})
    fitted = fit(observed, PACK, "test")
    assert abs(fitted.similarity_at(1e-5, "ann") - fitted.similarity_at(1e-5)) < 0.2


def test_too_few_similarities_are_refused_with_the_number_that_is_missing() -> None:
    with pytest.raises(GalleryError, match=r"990 similarities .* 1000 are needed: 10 are missing"):
        fit(Observed(strangers=strangers(LEAST_OBSERVATIONS - 10), matching=NONE), PACK, "test")


def test_what_was_not_measured_keeps_the_built_in_figures() -> None:
    fitted = fit(Observed(strangers=strangers(2000), matching=np.full(29, 0.9)), PACK, "test")
    built_in = default_calibration(PACK)
    assert (fitted.matching, fitted.persistence) == (built_in.matching, built_in.persistence)
    assert (fitted.pack_digest, fitted.observations, fitted.source) == (PACK.digest, 2000, "test")


def test_photos_of_an_album_are_compared_between_people_and_within_each() -> None:
    observed = observe(photos(40, count=3))
    assert len(observed.strangers) == 40 * 39
    assert abs(np.median(observed.strangers)) < 0.2 < 0.5 < np.median(observed.matching)
    assert len(observed.matching) == 120
    assert observed.persistence is not None
    assert 0.2 < observed.persistence < 0.9
    fitted = fit(observed, PACK, "album")
    assert fitted.matching.centre == pytest.approx(np.median(observed.matching))


def test_people_with_one_photo_each_say_nothing_of_matching_or_persistence() -> None:
    observed = observe(photos(40))
    assert (len(observed.matching), observed.persistence) == (0, None)


def test_strangers_of_an_album_are_compared_with_the_protected_but_not_with_themselves() -> None:
    album = photos(40)
    protected = {"p000": album["p000"], "ann": photos(1, seed=9)["p000"]}
    by_identity = observe(album, protected).by_identity
    assert (len(by_identity["p000"]), len(by_identity["ann"])) == (39, 40)
    assert by_identity["p000"].max() < 0.6


def test_an_album_of_nobody_is_nothing_observed() -> None:
    observed = observe({}, {"ann": photos(1)["p000"]})
    assert (len(observed.strangers), len(observed.matching), dict(observed.by_identity)) == (0, 0, {})


def test_one_person_under_two_names_is_pointed_out() -> None:
    album = photos(20)
    album["twin"] = [album["p003"][0]]
    assert alike(album, 0.8) == ["p003 / twin (1.00)"]


@pytest.mark.parametrize(
    "change", [{"exceedance": 0.0}, {"exceedance": 0.6}, {"scale": 0.0}, {"shape": 1.5}, {"threshold": 1.0}]
)
def test_a_tail_that_is_none_cannot_be_made(change: dict) -> None:
    with pytest.raises(ValueError, match="is not a tail"):
        Tail(**{"threshold": 0.2, "exceedance": 0.05, "scale": 0.03, "shape": 0.0, **change})
