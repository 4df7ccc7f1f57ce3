"""How far a rate that was counted on few trials can be trusted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

CONFIDENCE = 0.95

_STEPS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """``hits`` of ``trials``, with its confidence interval."""

    hits: int
    trials: int

    def __post_init__(self) -> None:
        if not 0 <= self.hits <= self.trials:
            raise ValueError(f"{self.hits} of {self.trials} is no rate")

    @property
    def value(self) -> float | None:
        """0 to 1; None without trials."""
        return self.hits / self.trials if self.trials else None

    @property
    def bounds(self) -> tuple[float, float]:
        """The 95 % interval; 0 to 1 without trials."""
        return clopper_pearson(self.hits, self.trials)

    def to_dict(self) -> dict[str, object]:
        low, high = self.bounds
        return {"hits": self.hits, "trials": self.trials, "low": round(low, 4), "high": round(high, 4)}


def clopper_pearson(hits: int, trials: int) -> tuple[float, float]:
    """The exact two-sided 95 % interval of a binomial rate (Clopper and Pearson, 1934).

    It supposes independent trials. Where there are no hits, or only hits, all the error lies on one side, and the
    bound there is the one-sided one: near 3 / trials, the "rule of 3" of ISO/IEC 19795-1.
    """
    if not trials:
        return 0.0, 1.0
    alpha = 1 - CONFIDENCE
    if hits == 0:
        return 0.0, 1 - alpha ** (1 / trials)
    if hits == trials:
        return alpha ** (1 / trials), 1.0
    low = _root(lambda rate: 1 - _at_most(hits - 1, trials, rate) - alpha / 2)
    high = _root(lambda rate: alpha / 2 - _at_most(hits, trials, rate))
    return low, high


def _at_most(hits: int, trials: int, rate: float) -> float:
    """The chance of at most ``hits`` of ``trials``."""
    log_all = math.lgamma(trials + 1)
    return math.fsum(
        math.exp(
            log_all
            - math.lgamma(k + 1)
            - math.lgamma(trials - k + 1)
            + k * math.log(rate)
            + (trials - k) * math.log1p(-rate)
        )
        for k in range(hits + 1)
    )


def _root(rising: Callable[[float], float]) -> float:
    """Where a function that rises from below nought to above crosses it, between 0 and 1."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2
