"""How much evidence keeps the budget: found by simulating strangers, because Wald's own limit is far off here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from monitor.gallery.calibration import Calibration
from monitor.sightings.config import SightingsConfig
from monitor.sightings.sequential_test import CORRELATION_S, MOST_PICTURES, SequentialTest, correlations
from monitor.sightings.track import burst_step

_TRACK_S = 60.0
_TRACKS = 20_000
_SEED = 1947


@dataclass(frozen=True, slots=True, kw_only=True)
class StrangerTracks:
    """Simulated minutes of strangers' faces, compared with one identity."""

    stream_times: NDArray[np.float64]
    """Shape (n,), seconds."""
    normal_scores: NDArray[np.float64]
    """Shape (tracks, n)."""
    weights: NDArray[np.float64]
    """Shape (tracks,): the probability of each under the true law over that under the one it was drawn from."""


def sized_test(calibration: Calibration, config: SightingsConfig) -> SequentialTest:
    """The test that keeps ``config.alert_budget``.

    Strangers are drawn close to the limit and weighted back (importance sampling, Siegmund 1976), so that rates of
    1e-10 cost no more than those of 1e-2. Takes some tenths of a second of a CPU.
    """
    alpha = config.alert_budget.alpha
    tracks = draw_strangers(np.random.default_rng(_SEED), _TRACKS, config, calibration.persistence, near=alpha)
    highest = highest_evidence(tracks, calibration, config)
    order = np.argsort(-highest)
    passing = tracks.weights[order].cumsum() / _TRACKS
    return SequentialTest(
        calibration=calibration,
        least_pictures=config.min_samples,
        alpha=alpha,
        limit=float(highest[order][np.searchsorted(passing, alpha)]),
    )


def draw_strangers(
    chance: np.random.Generator,
    count: int,
    config: SightingsConfig,
    persistence: float,
    *,
    near: float | None = None,
) -> StrangerTracks:
    """Similarities of ``count`` strangers, a picture at every step of a burst for a minute.

    :param near: draw such strangers as pass with this probability or so; None draws them as they are.
    """
    times = np.arange(0.0, max(_TRACK_S, 1.5 * config.min_seconds + burst_step(config)), burst_step(config))
    shift = _shift(near, persistence) if near is not None else 0.0
    likeness = chance.standard_normal(count) + shift
    weights = np.exp(-shift * likeness + shift**2 / 2)
    keep = math.exp(-burst_step(config) / CORRELATION_S)
    passing = np.empty((count, len(times)))
    passing[:, 0] = chance.standard_normal(count)
    for i in range(1, len(times)):
        passing[:, i] = keep * passing[:, i - 1] + math.sqrt(1 - keep**2) * chance.standard_normal(count)
    scores = math.sqrt(persistence) * likeness[:, np.newaxis] + math.sqrt(1 - persistence) * passing
    return StrangerTracks(stream_times=times, normal_scores=scores, weights=weights)


def highest_evidence(tracks: StrangerTracks, calibration: Calibration, config: SightingsConfig) -> NDArray[np.float64]:
    """The highest log-likelihood that each track ever reaches; shape (tracks,).

    The same as asking :class:`SequentialTest` after every picture, for all tracks at once.
    """
    ratios = _ratios(tracks.normal_scores, calibration)
    sums = np.concatenate([np.zeros((len(ratios), 1)), ratios.cumsum(axis=1)], axis=1).T.copy()
    corner = correlations(tracks.stream_times, calibration.persistence).cumsum(axis=0).cumsum(axis=1)
    corner = np.pad(corner, ((1, 0), (1, 0)))
    window = max(config.min_samples, min(MOST_PICTURES, int(config.evidence_window_s / burst_step(config)) + 1))
    highest = np.full(len(ratios), -np.inf)
    for end in range(config.min_samples, len(tracks.stream_times) + 1):
        for start in range(max(0, end - window), end - config.min_samples + 1):
            weight = corner[end, end] - corner[start, end] - corner[end, start] + corner[start, start]
            np.maximum(highest, (end - start) / weight * (sums[end] - sums[start]), out=highest)
    return highest


def _ratios(normal_scores: NDArray[np.float64], calibration: Calibration) -> NDArray[np.float64]:
    """Log-likelihood ratios by table: they are smooth, and there are many."""
    grid = np.linspace(-12, 38, 5001)
    table = np.array([calibration.log_likelihood_ratio_of(float(score)) for score in grid])
    ratios: NDArray[np.float64] = np.interp(normal_scores, grid, table)
    return ratios


def _shift(alpha: float, persistence: float) -> float:
    """Where on the scale of likeness those strangers stand that pass with probability ``alpha``: they are like the
    identity for the most part because of who they are, for the rest because of three lucky pictures."""
    shared = persistence + (1 - persistence) / 3
    return math.sqrt(persistence / shared) * -NormalDist().inv_cdf(alpha)
