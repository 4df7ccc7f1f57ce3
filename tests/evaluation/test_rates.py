"""Counting: confidence bounds, TPIR, FPIR, the DET curve, who is enrolled, and what a table row says."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from monitor.evaluation.album import Photo
from monitor.evaluation.bounds import Rate, clopper_pearson
from monitor.evaluation.catalogue import AS_IS
from monitor.evaluation.det_svg import det_svg
from monitor.evaluation.openset import NOBODY, Searches, det_curve, median, operating_point
from monitor.evaluation.outcome import Evaluation, Skipped, Trial, row
from monitor.evaluation.plan import plan, spread
from monitor.evaluation.report import rendered
from monitor.evaluation.verdict import PictureVerdict
from monitor.faces.face import PackInfo


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    # As R's binom.test prints them; the one-sided ones are 0.05 ** (1 / n).
    [
        (5, 10, 0.1871, 0.8129),
        (1, 20, 0.0013, 0.2487),
        (90, 100, 0.8238, 0.9510),
        (0, 10, 0, 0.2589),
        (2, 2, 0.2236, 1),
    ],
)
def test_bounds_are_the_exact_binomial_ones(hits: int, trials: int, low: float, high: float) -> None:
    assert clopper_pearson(hits, trials) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("trials", [30, 100, 3000])
def test_without_an_error_the_bound_is_the_rule_of_three(trials: int) -> None:
    low, high = clopper_pearson(0, trials)
    assert low == 0
    assert high == pytest.approx(3 / trials, rel=0.06)
    assert clopper_pearson(trials, trials)[0] == pytest.approx(1 - high)


def test_bounds_hold_the_rate_and_narrow_with_more_trials() -> None:
    widths = []
    for trials in (4, 40, 400):
        rate = Rate(hits=trials // 4, trials=trials)
        low, high = rate.bounds
        assert low < 0.25 < high
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)
    assert Rate(hits=0, trials=0).bounds == (0.0, 1.0)
    assert Rate(hits=0, trials=0).value is None


SEARCHES = Searches(
    mated=(0.9, 0.8, 0.7, 0.5, NOBODY), non_mated=(0.6, 0.4, 0.3, 0.2, 0.1, 0.05, 0.0, -0.1, -0.2, NOBODY)
)


def test_tpir_and_fpir_count_what_reaches_the_threshold() -> None:
    assert (SEARCHES.tpir(0.7).hits, SEARCHES.tpir(0.7).trials) == (3, 5)
    assert (SEARCHES.fpir(0.4).hits, SEARCHES.fpir(0.4).trials) == (2, 10)
    assert SEARCHES.tpir(-1).hits == 4, "a search that found no face succeeds at no threshold"


def test_tpir_is_given_at_the_lowest_threshold_that_keeps_the_stated_fpir() -> None:
    point = operating_point(SEARCHES, 0.1)
    assert point.threshold is not None
    assert 0.4 < point.threshold < 0.41
    assert point.tpir == Rate(hits=4, trials=5)
    assert point.fpir == Rate(hits=1, trials=10)


def test_an_fpir_that_so_few_probes_cannot_show_is_not_given() -> None:
    point = operating_point(SEARCHES, 0.01)
    assert (point.threshold, point.tpir, point.probes_needed) == (None, None, 100)


def test_along_the_det_curve_false_positives_fall_and_false_negatives_rise() -> None:
    curve = det_curve(SEARCHES)
    assert [point.fpir.hits for point in curve] == sorted((point.fpir.hits for point in curve), reverse=True)
    assert [point.fnir.hits for point in curve] == sorted(point.fnir.hits for point in curve)
    assert curve[0].fpir.hits == 9
    assert (curve[-1].fpir.hits, curve[-1].fnir.hits) == (0, 5)
    assert det_curve(Searches(mated=(), non_mated=(0.1,))) == ()


def test_a_drawn_curve_has_a_dot_for_each_threshold_and_stays_in_its_frame() -> None:
    curve = det_curve(SEARCHES)
    drawing = det_svg(curve)
    assert drawing.count("<circle") == len(curve)
    points = [pair.split(",") for pair in drawing.split('class="curve" points="')[1].split('"')[0].split()]
    assert all(64 <= float(x) <= 624 and 16 <= float(y) <= 348 for x, y in points)


def test_the_median_of_an_even_count_lies_between_the_middle_two() -> None:
    assert median([0.1, 0.4, 0.2, 0.3]) == pytest.approx(0.25)
    assert median([]) is None


def album(**counts: int) -> dict[str, list[Photo]]:
    return {
        identity: [Photo(identity=identity, name=f"{number}.jpg") for number in range(count)]
        for identity, count in counts.items()
    }


def test_one_photo_is_enrolled_the_rest_are_searched_for_and_single_photos_are_strangers() -> None:
    (first, *others) = plan(album(ann=3, bob=1), enrol=1)
    assert [photo.key for photo in first.enrolled] == ["ann/0.jpg"]
    assert [photo.key for photo in first.mated] == ["ann/1.jpg", "ann/2.jpg"]
    assert [photo.key for photo in first.non_mated] == ["bob/0.jpg"]
    assert [[photo.key for photo in one.enrolled] for one in others] == [["ann/1.jpg"], ["ann/2.jpg"]]


def test_enrolling_more_photos_than_there_are_leaves_one_to_be_searched_for() -> None:
    for one in plan(album(ann=3), enrol=9):
        assert (len(one.enrolled), len(one.mated)) == (2, 1)
        assert not set(one.enrolled) & set(one.mated)


def test_a_quarter_of_the_people_with_several_photos_is_held_out_and_never_enrolled() -> None:
    people = album(**{f"person{number}": 3 for number in range(40)})
    rounds = plan(people, enrol=1)
    assert len(rounds) == 1, "sixty probes need no turns"
    enrolled = {photo.identity for photo in rounds[0].enrolled}
    strangers = {photo.identity for photo in rounds[0].non_mated}
    assert (len(enrolled), len(strangers)) == (30, 10)
    assert not enrolled & strangers
    assert rounds == plan(people, enrol=1)


def test_a_subset_is_bounded_by_identities() -> None:
    (one, *_) = plan(album(**{f"person{number}": 3 for number in range(40)}), enrol=1, most_identities=2)
    assert len({photo.identity for photo in one.enrolled}) == 2
    assert len({photo.identity for photo in one.non_mated}) == 2


def test_few_clips_are_spread_over_the_people() -> None:
    photos = [photo for people in album(ann=5, bob=5, cy=1).values() for photo in people]
    assert {photo.identity for photo in spread(photos, 3)} == {"ann", "bob", "cy"}
    assert len(spread(photos, 100)) == 11


def trial(identity: str, *sighted: str, mated: bool = True, similarity: float | None = 0.5) -> Trial:
    verdict = PictureVerdict.MATCHED if identity in sighted else PictureVerdict.NO_FACE
    return Trial(
        transformation="as_is",
        identity=identity,
        photo="<b>1.jpg",
        mated=mated,
        sighted=sighted,
        verdicts=(verdict,) * 3,
        frame_verdict=verdict,
        frame_similarity=similarity,
        jpeg=None if identity in sighted else b"\xff\xd8jpeg",
    )


TRIALS = (
    trial("ann", "ann", similarity=0.8),
    trial("ann", "ann", similarity=0.6),
    trial("bob", "bob", similarity=0.7),
    trial("bob", similarity=None),
    trial("cy", "ann", "cy", similarity=0.9),
    trial("dee", mated=False, similarity=0.1),
    trial("eve", "bob", mated=False, similarity=0.5),
)


def test_a_row_counts_clips_people_frames_and_false_sightings() -> None:
    counted = row(AS_IS, TRIALS)
    assert counted.clips == Rate(hits=4, trials=5)
    assert counted.identities == Rate(hits=2, trials=3), "bob was missed once"
    assert counted.frames == Rate(hits=4, trials=5)
    assert counted.median_similarity == pytest.approx(0.75)
    assert counted.embedded == 4
    assert counted.false_sightings == Rate(hits=2, trials=7), "ann in cy's clip, bob in eve's"
    assert counted.why == {"no_face": 3}


def test_a_report_names_every_wrong_outcome_escapes_what_files_are_called_and_needs_nothing_else() -> None:
    pack = PackInfo(
        name="opencv-zoo",
        digest="d" * 64,
        dimension=128,
        licence="MIT",
        provider="cpu",
        similarity_threshold=0.42,
        candidate_threshold=0.3,
        margin=0.05,
    )
    evaluation = Evaluation(
        source="faces <of> mine",
        began=datetime(2026, 1, 2, tzinfo=UTC),
        seconds=12,
        machine="two cores",
        pack=pack,
        enrolled_identities=3,
        enrolled_photos=3,
        rounds=1,
        searches=SEARCHES,
        trials=TRIALS,
        rows=(row(AS_IS, TRIALS),),
        skipped=(Skipped(what="fay/<x>.jpg", why="the picture's data is broken"),),
    )
    page = rendered(evaluation)
    assert "faces &lt;of&gt; mine" in page
    assert "&lt;b&gt;1.jpg" in page
    assert "<b>1.jpg" not in page
    assert page.count("data:image/jpeg;base64,") == 2, "of bob, who was missed, and of eve, who was taken for him"
    assert page.count("<figure>") == 3, "and cy's clip, in which ann was sighted too"
    assert "fay/&lt;x&gt;.jpg: the picture&#39;s data is broken" in page
    assert "needs 100 photos of people who are not enrolled, there are 10" in page
    assert "http" not in page.replace("http-equiv", "")
    assert evaluation.to_dict()["photos"]["tpir"]["hits"] == 4
    assert all(math.isfinite(one["similarity"]) for one in evaluation.to_dict()["photos"]["det"])
