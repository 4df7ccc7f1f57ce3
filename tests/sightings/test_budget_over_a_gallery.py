"""The whole chain on made-up embeddings: an album, its calibration, a gallery, strangers in front of cameras."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.rooms import PACK

from monitor.gallery.calibration import Calibration
from monitor.gallery.calibration_fit import fit
from monitor.gallery.photo_pairs import observe
from monitor.sightings import evidence_limit
from monitor.sightings.alert_budget import FACE_MINUTES_A_DAY, AlertBudget
from monitor.sightings.config import SightingsConfig
from monitor.sightings.evidence_limit import StrangerTracks, highest_evidence, sized_test
from monitor.sightings.sequential_test import CORRELATION_S
from monitor.sightings.track import burst_step

DIMENSION, SAME = 64, 0.8
"""``SAME`` of a face's variance is the face itself; the rest changes from picture to picture."""

IDENTITIES, STRANGERS, SECONDS = 100, 10_080, 15.0
FALSE_ALERTS = 60
GRID = np.linspace(-1, 1, 801)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def looks(chance: np.random.Generator, people: int, pictures: int, step_s: float) -> np.ndarray:
    """Shape (people, pictures, DIMENSION), L2-normalised."""
    self_ = chance.standard_normal((people, 1, DIMENSION))
    keep = math.exp(-step_s / CORRELATION_S)
    passing = [chance.standard_normal((people, DIMENSION))]
    for _ in range(pictures - 1):
        fresh = chance.standard_normal((people, DIMENSION))
        passing.append(keep * passing[-1] + math.sqrt(1 - keep**2) * fresh)
    return unit(math.sqrt(SAME) * self_ + math.sqrt(1 - SAME) * np.stack(passing, axis=1))


def highest(
    calibration: Calibration, config: SightingsConfig, own: list[np.ndarray], cosines: np.ndarray
) -> np.ndarray:
    """The highest evidence of each (track, identity) that comes near.

    :param own: for each identity the normal scores of ``GRID``.
    :param cosines: shape (tracks, pictures, identities).
    """
    scores = np.stack([np.interp(cosines[:, :, i], GRID, table) for i, table in enumerate(own)], axis=1)
    near = scores.reshape(-1, cosines.shape[1])
    near = near[near.max(axis=1) > 2.5]
    times = np.arange(cosines.shape[1]) * burst_step(config)
    return highest_evidence(
        StrangerTracks(stream_times=times, normal_scores=near, weights=np.ones(len(near))), calibration, config
    )


def test_a_gallery_calibrated_on_an_album_keeps_the_budget_among_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_limit, "_TRACK_S", SECONDS)
    chance = np.random.default_rng(12)
    protected = {f"q{i}": [unit(chance.standard_normal(DIMENSION))] for i in range(IDENTITIES)}
    album = {f"p{i}": list(pair) for i, pair in enumerate(looks(chance, 300, 2, step_s=60))}
    calibration = fit(observe(album, protected), PACK, "made up")
    assert calibration.persistence == pytest.approx(SAME, abs=0.05)
    assert set(calibration.identities) == set(protected)

    rooms = STRANGERS // FACE_MINUTES_A_DAY
    tests = FACE_MINUTES_A_DAY * rooms
    budget = AlertBudget(false_alerts_per_day=FALSE_ALERTS * tests / STRANGERS, rooms=rooms, identities=IDENTITIES)
    config = SightingsConfig(alert_budget=budget)
    limit = sized_test(calibration, config).limit
    references = np.concatenate(list(protected.values()))
    own = [np.array([calibration.normal_score(float(point), name) for point in GRID]) for name in protected]
    pictures, passed = len(np.arange(0, SECONDS, burst_step(config))), 0
    for _ in range(STRANGERS // 720):
        cosines = looks(chance, 720, pictures, burst_step(config)) @ references.T
        passed += int((highest(calibration, config, own, cosines) >= limit).sum())
    assert FALSE_ALERTS / 2 <= passed <= FALSE_ALERTS * 2
