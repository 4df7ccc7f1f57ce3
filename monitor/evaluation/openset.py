"""Open-set identification rates (ISO/IEC 19795-1:2021): TPIR, FPIR and the DET curve between them. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from monitor.evaluation.bounds import Rate

STATED_FPIRS = (0.1, 0.01, 0.001)

NOBODY = -math.inf
"""The similarity of a search that cannot succeed at any threshold: no face found, or somebody else ranked first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Searches:
    """What came out of searching the gallery."""

    mated: tuple[float, ...]
    """For each probe of an enrolled person the similarity to them where they ranked first, else ``NOBODY``."""
    non_mated: tuple[float, ...]
    """For each probe of a person who is not enrolled the highest similarity to anybody; ``NOBODY`` without a face."""

    def tpir(self, threshold: float) -> Rate:
        """True-positive identification rate, rank 1: the enrolled who are found at ``threshold``."""
        return Rate(hits=sum(one >= threshold for one in self.mated), trials=len(self.mated))

    def fpir(self, threshold: float) -> Rate:
        """False-positive identification rate: those not enrolled who resemble somebody at ``threshold``."""
        return Rate(hits=sum(one >= threshold for one in self.non_mated), trials=len(self.non_mated))


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """TPIR where FPIR is at most what was stated."""

    stated_fpir: float
    threshold: float | None
    """The lowest similarity that keeps the stated FPIR; None where too few non-mated probes can show it."""
    tpir: Rate | None
    fpir: Rate | None

    @property
    def probes_needed(self) -> int:
        """Non-mated probes from which on the stated FPIR can be seen at all."""
        return math.ceil(1 / self.stated_fpir - 1e-9)


def operating_point(searches: Searches, stated_fpir: float) -> OperatingPoint:
    """TPIR at the lowest threshold with FPIR <= ``stated_fpir``."""
    point = OperatingPoint(stated_fpir=stated_fpir, threshold=None, tpir=None, fpir=None)
    if len(searches.non_mated) < point.probes_needed or not searches.mated:
        return point
    allowed = math.floor(stated_fpir * len(searches.non_mated) + 1e-9)
    # Just above the highest similarity that may not pass.
    threshold = math.nextafter(sorted(searches.non_mated, reverse=True)[allowed], math.inf)
    threshold = max(threshold, -1.0)
    return OperatingPoint(
        stated_fpir=stated_fpir,
        threshold=threshold,
        tpir=searches.tpir(threshold),
        fpir=searches.fpir(threshold),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DetPoint:
    """One threshold of the detection error trade-off."""

    threshold: float
    fpir: Rate
    fnir: Rate
    """False-negative identification rate, 1 - TPIR."""


def det_curve(searches: Searches, most: int = 200) -> tuple[DetPoint, ...]:
    """The curve from the lowest threshold to the highest, at every similarity that occurs, thinned to ``most``."""
    if not searches.mated or not searches.non_mated:
        return ()
    levels = sorted({one for one in (*searches.mated, *searches.non_mated) if one > NOBODY})
    step = max(1, math.ceil(len(levels) / most))
    return tuple(_det_point(searches, threshold) for threshold in (*levels[::step], 1.0))


def _det_point(searches: Searches, threshold: float) -> DetPoint:
    found = searches.tpir(threshold)
    return DetPoint(
        threshold=threshold,
        fpir=searches.fpir(threshold),
        fnir=Rate(hits=found.trials - found.hits, trials=found.trials),
    )


def median(values: Sequence[float]) -> float | None:
    """The middle value; None of none."""
    if not values:
        return None
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
