from __future__ import annotations

import itertools
import random
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import ValidationError
from support.rooms import BEGAN, PACK, frame_at, match

from monitor.faces.face import Box
from monitor.sightings.config import SightingsConfig
from monitor.sightings.evidence import SPACING_S, assess, spaced
from monitor.sightings.sighting import EvidenceVerdict, Sample

CONFIG = SightingsConfig()


def sample(second: float, similarity: float = 0.6, runner_up: float | None = 0.1, identity: str = "ann") -> Sample:
    return Sample(
        stream_time=second,
        utc=BEGAN + timedelta(seconds=second),
        box=Box(x1=0, y1=0, x2=100, y2=120),
        match=match(identity, similarity, runner_up),
        frame=frame_at(second),
        pts=round(second * 90_000),
        picture_width=640,
        picture_height=360,
    )


@pytest.mark.parametrize(
    ("samples", "verdict"),
    [
        ([], EvidenceVerdict.NOBODY_PROTECTED),
        ([sample(t, 0.29) for t in (0, 1, 2, 3)], EvidenceVerdict.NOBODY_PROTECTED),
        ([sample(t, 0.39) for t in (0, 1, 2, 3)], EvidenceVerdict.BELOW_SIMILARITY),
        ([sample(t, 0.60, 0.56) for t in (0, 1, 2, 3)], EvidenceVerdict.SMALL_MARGIN),
        ([sample(t, 0.40, 0.35) for t in (0, 1, 2)], EvidenceVerdict.PASSED),
        ([sample(t, 0.40, None) for t in (0, 1, 2)], EvidenceVerdict.PASSED),
        ([sample(0)], EvidenceVerdict.TOO_FEW_SAMPLES),
        ([sample(0), sample(100)], EvidenceVerdict.TOO_FEW_SAMPLES),
        ([sample(t / 10) for t in range(18)], EvidenceVerdict.TOO_FEW_SAMPLES),
        ([sample(t) for t in (0, 0.95, 1.9)], EvidenceVerdict.TOO_SHORT),
        ([sample(t) for t in (0, 1, 2)], EvidenceVerdict.PASSED),
        ([sample(t) for t in (2, 0, 1)], EvidenceVerdict.PASSED),
        ([sample(0), sample(1, 0.2), sample(2)], EvidenceVerdict.TOO_FEW_SAMPLES),
        ([sample(0), sample(1, identity="bob"), sample(2)], EvidenceVerdict.TOO_FEW_SAMPLES),
        ([sample(0), sample(1, 0.6, 0.58), sample(2), sample(3)], EvidenceVerdict.PASSED),
    ],
)
def test_the_verdict_is_the_first_condition_that_the_samples_do_not_meet(samples, verdict) -> None:
    assert assess(samples, CONFIG, PACK) is verdict


def test_the_similarity_threshold_and_the_margin_are_enough_exactly() -> None:
    pack = replace(PACK, similarity_threshold=0.75, margin=0.25)
    samples = [sample(t, 0.75, 0.5) for t in (0, 1, 2)]
    assert assess(samples, CONFIG, pack) is EvidenceVerdict.PASSED
    assert assess(samples, CONFIG, replace(pack, margin=0.26)) is EvidenceVerdict.SMALL_MARGIN
    assert assess(samples, CONFIG, replace(pack, similarity_threshold=0.76)) is EvidenceVerdict.BELOW_SIMILARITY


@pytest.mark.parametrize(("key", "weaker", "least"), [("min_samples", 1, 2), ("min_seconds", 0.9, 1)])
def test_the_rule_can_be_made_stricter_but_one_moment_is_never_enough(key: str, weaker: float, least: float) -> None:
    with pytest.raises(ValidationError, match=f"greater than or equal to {least}"):
        SightingsConfig.model_validate({key: weaker})
    loosest = SightingsConfig(min_samples=2, min_seconds=1)
    assert assess([sample(0)], loosest, PACK) is EvidenceVerdict.TOO_FEW_SAMPLES
    assert assess([sample(0), sample(0.95)], loosest, PACK) is EvidenceVerdict.TOO_SHORT
    assert assess([sample(0), sample(1)], loosest, PACK) is EvidenceVerdict.PASSED


def test_spaced_samples_are_as_many_as_can_stand_apart() -> None:
    chance = random.Random(5)
    for _ in range(200):
        times = sorted(chance.uniform(0, 6) for _ in range(chance.randrange(1, 14)))
        chosen = spaced(times)
        assert all(later - sooner >= SPACING_S - 1e-6 for sooner, later in itertools.pairwise(chosen))
        assert len(chosen) == _most_apart(times)


def _most_apart(times: list[float]) -> int:
    """By dynamic programming over the last one chosen."""
    most = [1] * len(times)
    for i, time in enumerate(times):
        most[i] += max((most[j] for j in range(i) if time - times[j] >= SPACING_S - 1e-6), default=0)
    return max(most)


def test_more_matching_samples_never_undo_a_proof() -> None:
    chance = random.Random(6)
    for _ in range(200):
        samples = [sample(chance.uniform(0, 8), chance.uniform(0.2, 0.8), 0.1) for _ in range(8)]
        passed = False
        for count in range(1, 9):
            verdict = assess(samples[:count], CONFIG, PACK)
            assert verdict is EvidenceVerdict.PASSED or not passed
            passed = verdict is EvidenceVerdict.PASSED
