"""From observed similarities to a calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from monitor.errors import GalleryError
from monitor.gallery.calibration import Calibration, IdentityScores, MatchingScores
from monitor.gallery.calibration_defaults import Pack, default_calibration
from monitor.gallery.score_tail import fit_cut_tail, fit_tail
from monitor.gallery.stranger_scores import StrangerScores

Similarities = NDArray[np.float64]
"""Shape (n,), cosines."""

LEAST_OBSERVATIONS = 1000
"""Similarities between different people below which a tail is guesswork."""

LEAST_MATCHING = 30
"""Similarities of one person below which the built-in distribution is kept."""

LEAST_OF_IDENTITY = 30
_MOST_APART = 1.25
"""Times that an identity's spread may differ from the pack's."""
SHRINK = 100
"""An identity observed this often stands half-way between the pack's figures and its own."""

_TAIL_COUNT = 200
_TAIL_SHARES = (0.001, 0.05)
_UPPER_QUANTILE, _UPPER_DEVIATION = 0.95, 1.6449


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Similarities that were measured with one pack."""

    strangers: Similarities
    """Of people to somebody they are not."""
    matching: Similarities
    """Of people to themselves."""
    by_identity: Mapping[str, Similarities] = field(default_factory=dict)
    """Identity to the similarities of strangers to it; they may be among ``strangers``."""
    persistence: float | None = None
    """Correlation between two pictures of one stranger; None where it was not measured."""
    cut: float | None = None
    """Nothing from this similarity on was counted, because it may have been the person."""


def fit(observed: Observed, pack: Pack, source: str) -> Calibration:
    """The calibration that fits; what was observed too little keeps the pack's built-in figures.

    Centre and spread are robust (median, and the 95 % quantile, on the side that matters); the tail is a generalised
    Pareto distribution over a high quantile.

    :raises GalleryError: fewer than ``LEAST_OBSERVATIONS`` strangers; says how many are missing.
    """
    count = len(observed.strangers)
    if count < LEAST_OBSERVATIONS:
        raise GalleryError(
            f"{count} similarities between different people, {LEAST_OBSERVATIONS} are needed: "
            f"{LEAST_OBSERVATIONS - count} are missing"
        )
    built_in = default_calibration(pack)
    strangers = _fit_strangers(observed.strangers, observed.cut)
    return replace(
        built_in,
        source=source,
        observations=count,
        strangers=strangers,
        matching=_fit_matching(observed.matching) or built_in.matching,
        # Photos of an album differ more than pictures of a minute, so what they show is a lower bound.
        persistence=min(0.98, max(built_in.persistence, observed.persistence or 0.0)),
        identities={
            identity_id: _fit_identity(similarities, strangers)
            for identity_id, similarities in sorted(observed.by_identity.items())
            if len(similarities) >= LEAST_OF_IDENTITY
        },
    )


def _fit_strangers(similarities: Similarities, cut: float | None) -> StrangerScores:
    lowest, highest = _TAIL_SHARES
    share = min(highest, max(lowest, _TAIL_COUNT / len(similarities)))
    centre, spread = _centre_and_spread(similarities)
    tail = fit_tail(similarities, share) if cut is None else fit_cut_tail(similarities, share, cut)
    return StrangerScores(centre=centre, spread=spread, tail=tail)


def _fit_matching(similarities: Similarities) -> MatchingScores | None:
    if len(similarities) < LEAST_MATCHING:
        return None
    low, centre, high = np.quantile(similarities, (0.16, 0.5, 0.84))
    return MatchingScores(
        centre=float(np.clip(centre, 0.01, 0.99)), spread=float(np.clip((high - low) / 2, 0.02, 0.49))
    )


def _fit_identity(similarities: Similarities, pack_wide: StrangerScores) -> IdentityScores:
    """Shrunk towards the pack's figures by the number of observations, and kept near them.

    Rooms show few people many times: what looks like hundreds of strangers may be three, whose resemblance must not
    make anybody's threshold absurd.
    """
    centre, spread = _centre_and_spread(similarities)
    centre = float(np.clip(centre, pack_wide.centre - pack_wide.spread, pack_wide.centre + pack_wide.spread))
    spread = float(np.clip(spread, pack_wide.spread / _MOST_APART, pack_wide.spread * _MOST_APART))
    own = len(similarities) / (len(similarities) + SHRINK)
    return IdentityScores(
        centre=own * centre + (1 - own) * pack_wide.centre,
        spread=own * spread + (1 - own) * pack_wide.spread,
        observations=len(similarities),
    )


def _centre_and_spread(similarities: Similarities) -> tuple[float, float]:
    centre, upper = np.quantile(similarities, (0.5, _UPPER_QUANTILE))
    return float(centre), max(1e-3, float(upper - centre) / _UPPER_DEVIATION)
