"""The tail of a distribution of similarities: how often strangers come how close."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEEPEST, FLATTEST = -0.3, 0.3
"""Between these a fitted shape is believed; outside it is what few observations do to an estimate."""

_WIDEST_SCALE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """Peaks over a threshold: a generalised Pareto distribution (Pickands 1975)."""

    threshold: float
    """Cosine from which the tail speaks."""
    exceedance: float
    """Share of all similarities above ``threshold``, above 0, at most 0.5."""
    scale: float
    """Cosine; above 0."""
    shape: float
    """0 is exponential; below 0 it ends at ``threshold - scale / shape``."""

    def __post_init__(self) -> None:
        if not (0 < self.exceedance <= 0.5 and self.scale > 0 and -1 < self.threshold < 1 and abs(self.shape) < 1):
            raise ValueError(f"{self} is not a tail: exceedance in (0, 0.5], scale > 0, |threshold| and |shape| < 1")

    def survival(self, similarity: float) -> float:
        """Share of all similarities above ``similarity``, which is not below ``threshold``."""
        excess = (similarity - self.threshold) / self.scale
        if abs(self.shape) < 1e-9:
            return self.exceedance * math.exp(-excess)
        inside = 1 + self.shape * excess
        return 0.0 if inside <= 0 else self.exceedance * float(inside ** (-1 / self.shape))


def fit_tail(similarities: NDArray[np.float64], share: float) -> Tail:
    """The tail of the highest ``share`` of ``similarities``, by probability-weighted moments (Hosking & Wallis 1987).

    :param similarities: shape (n,), any order, at least 20 of them in the tail.
    :raises ValueError: there are fewer.
    """
    ordered = np.sort(similarities)
    count = round(share * len(ordered))
    if count < 20:
        raise ValueError(f"{count} similarities in the tail, at least 20 needed")
    threshold = float(ordered[-count - 1])
    excesses = ordered[-count:] - threshold
    plotted = (np.arange(1, count + 1) - 0.35) / count
    first = float(excesses.mean())
    second = float(((1 - plotted) * excesses).mean())
    # Half of the mean would be a tail without any spread; ties at the threshold can come near it.
    shape = 2 - first / max(first - 2 * second, 1e-9)
    shape = min(FLATTEST, max(STEEPEST, shape))
    scale = max(first * (1 - shape), 1e-4)
    return Tail(threshold=threshold, exceedance=count / len(ordered), scale=scale, shape=shape)


def fit_cut_tail(similarities: NDArray[np.float64], share: float, cut: float) -> Tail:
    """The same where nothing above ``cut`` was counted: exponential, by maximum likelihood of the truncated law.

    What was never seen cannot say whether the tail ends, so its shape is not estimated.

    :raises ValueError: fewer than 20 similarities in the tail.
    """
    ordered = np.sort(similarities)
    count = round(share * len(ordered))
    if count < 20:
        raise ValueError(f"{count} similarities in the tail, at least 20 needed")
    threshold = float(ordered[-count - 1])
    width = max(cut - threshold, 1e-3)
    scale = _truncated_scale(float((ordered[-count:] - threshold).mean()), width)
    seen = 1 - math.exp(-width / scale)
    return Tail(threshold=threshold, exceedance=min(0.5, count / len(ordered) / seen), scale=scale, shape=0.0)


def _truncated_scale(mean: float, width: float) -> float:
    """The scale of an exponential whose excesses below ``width`` have this mean; bounded where the data show none."""
    low, high = 1e-4, _WIDEST_SCALE
    for _ in range(60):
        scale = (low + high) / 2
        expected = scale - width / math.expm1(min(700.0, width / scale))
        low, high = (scale, high) if expected < mean else (low, scale)
    return (low + high) / 2
