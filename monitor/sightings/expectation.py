"""What an operator may expect of a calibration and an alert budget, in figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from monitor.gallery.calibration import Calibration
from monitor.gallery.stranger_scores import NORMAL
from monitor.sightings.alert_budget import AlertBudget
from monitor.sightings.config import SightingsConfig
from monitor.sightings.evidence_limit import sized_test
from monitor.sightings.sequential_test import SequentialTest, best_run, correlations
from monitor.sightings.track import burst_step

DAYS_A_WEEK = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What one budget means."""

    budget: AlertBudget
    similarity_needed: float
    """Cosine at which the fewest pictures that may prove anything are worth the evidence."""
    own_share: float
    """Share of the person's own pictures at or above it."""
    false_match_rate: float
    """Share of single pictures of strangers at or above it."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "rooms": self.budget.rooms,
            "identities": self.budget.identities,
            "false_alerts_per_week": round(self.budget.false_alerts_per_day * DAYS_A_WEEK, 4),
            "similarity_needed": round(self.similarity_needed, 3),
            "own_pictures_share": round(self.own_share, 4),
            "false_match_rate": float(f"{self.false_match_rate:.3g}"),
        }


def expect(calibration: Calibration, config: SightingsConfig) -> Expectation:
    """What ``config.alert_budget`` means under ``calibration``."""
    needed = similarity_needed(sized_test(calibration, config), config)
    own = NORMAL.cdf((calibration.matching.centre - needed) / calibration.matching.spread)
    return Expectation(
        budget=config.alert_budget,
        similarity_needed=needed,
        own_share=own,
        false_match_rate=calibration.false_match_rate(needed),
    )


def similarity_needed(test: SequentialTest, config: SightingsConfig) -> float:
    """The similarity at which ``config.min_samples`` pictures of a burst are worth the test's limit; capped at 1."""
    count = config.min_samples
    correlated = correlations(np.arange(count, dtype=np.float64) * burst_step(config), test.calibration.persistence)
    low, high = -1.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        ratio = test.calibration.log_likelihood_ratio(middle)
        enough = best_run(np.full(count, ratio), correlated, count) >= test.limit
        low, high = (low, middle) if enough else (middle, high)
    return high


def spread_over(budget: AlertBudget, rooms: int, identities: int) -> float:
    """False alerts a day in so many rooms with so many people, if the evidence stays what ``budget`` asks for."""
    return budget.alpha * AlertBudget(false_alerts_per_day=1, rooms=rooms, identities=identities).tests_per_day
