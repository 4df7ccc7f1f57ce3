"""The sequential test (Wald 1947): what the pictures of one track are worth together for one identity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.gallery.calibration import Calibration
from monitor.gallery.identity import Match

CORRELATION_S = 0.5
"""Time constant with which the part of a similarity that is not the face itself (pose, light, compression) changes. On
carphone its autocorrelation is 0.24 after 0.4 s and 0.03 after 0.8 s."""

MOST_PICTURES = 64
"""Comparisons a test looks back on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One picture of a track compared with the gallery: numbers, no picture and no embedding of the face."""

    stream_time: float
    match: Match

    def similarity_to(self, identity_id: str) -> float:
        """The similarity to this identity; where others were closer, at most the runner-up's, which then stands in."""
        best, runner_up = self.match.best, self.match.runner_up
        return best.similarity if runner_up is None or best.identity_id == identity_id else runner_up.similarity


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialTest:
    """Decides for one (track, identity) at a time."""

    calibration: Calibration
    least_pictures: int
    """Of a run: the luckiest single picture of a minute says little about who it is."""
    alpha: float
    """Probability accepted that a stranger's face passes for one identity within a minute."""
    limit: float
    """Log-likelihood ratio from which the evidence suffices."""

    def log_likelihood(self, comparisons: Sequence[Comparison], identity_id: str) -> float:
        """The evidence of these pictures, in any order, for ``identity_id``: natural log of a likelihood ratio; minus
        infinity for fewer than ``least_pictures``."""
        ordered = sorted(comparisons, key=lambda comparison: comparison.stream_time)[-MOST_PICTURES:]
        if len(ordered) < self.least_pictures:
            return -math.inf
        ratios = [
            self.calibration.log_likelihood_ratio(comparison.similarity_to(identity_id), identity_id)
            for comparison in ordered
        ]
        times = np.array([comparison.stream_time for comparison in ordered])
        correlated = correlations(times, self.calibration.persistence)
        return best_run(np.array(ratios), correlated, self.least_pictures)


def correlations(stream_times: NDArray[np.float64], persistence: float) -> NDArray[np.float64]:
    """How far a stranger's pictures at these times (s), shape (n,), repeat each other; shape (n, n), diagonal 1."""
    apart = np.abs(stream_times[:, np.newaxis] - stream_times)
    fading: NDArray[np.float64] = np.exp(-apart / CORRELATION_S)
    return persistence + (1 - persistence) * fading


def best_run(ratios: NDArray[np.float64], correlated: NDArray[np.float64], least: int) -> float:
    """The evidence of the best run of ``least`` pictures or more that ends with the last one.

    A run's evidence is its mean log-likelihood ratio times the number of independent pictures that it is worth, n**2
    over the sum of its correlations (Kish 1965): each picture weighs rho = n / sum, 1 where pictures are independent.
    For normal scores of equal correlation that is the exact ratio of the run. A test that turned against the identity
    is restarted (Page 1954), which is to take the best run.

    :param ratios: shape (n,), oldest first, n >= ``least``.
    :param correlated: shape (n, n).
    """
    sums = ratios[::-1].cumsum()
    weights = correlated[::-1, ::-1].cumsum(axis=0).cumsum(axis=1).diagonal()
    return float((np.arange(1, len(ratios) + 1) * sums / weights)[least - 1 :].max())
